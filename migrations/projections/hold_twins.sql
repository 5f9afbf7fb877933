-- Keeps the twins of read models from being replaced before the end of the transaction, in which a worker fills them. Returns
-- their identity (twins_of). Runs with the rights of the caller, who fills them.
create or replace function eventsourcing.hold_twins(p_tables text[])
returns text
language plpgsql
as $$
declare
  read_model pg_catalog.text;
begin
  foreach read_model in array p_tables loop
    if pg_catalog.to_regclass(pg_catalog.format('eventsourcing_rebuild.%I', read_model)) is not null then
      execute pg_catalog.format('lock table eventsourcing_rebuild.%I in row exclusive mode', read_model);
    end if;
  end loop;
  return eventsourcing.twins_of(p_tables);
end
$$;

comment on function eventsourcing.hold_twins is 'Keeps the twins of read models from being replaced during the transaction.';
