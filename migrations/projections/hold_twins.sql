-- Keeps the twins of read models as they are to the end of the transaction: nobody makes them anew under a worker that
-- fills them. Returns which they are (twins_of). Runs with the caller's rights, who fills them.
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

comment on function eventsourcing.hold_twins is 'Keeps the twins of read models from being made anew in the transaction.';
