-- The name of a table as a read model. Refuses a table that cannot be one.
create or replace function eventsourcing.read_model_name(target regclass)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  table_name constant text := (select c.relname from pg_class c where c.oid = target);
begin
  -- its name means another table, or none, in other sessions
  if (select c.relpersistence from pg_class c where c.oid = target) = 't' then
    raise exception 'temporary table % cannot be a read model', table_name;
  end if;
  if exists (select from eventsourcing.read_models m where m.name = table_name and m.live_table <> target::text) then
    raise exception 'a read model named % is registered already, as %', table_name,
      (select m.live_table from eventsourcing.read_models m where m.name = table_name)
      using hint = 'read models must have different names, even in different schemas';
  end if;
  return table_name;
end
$$;

comment on function eventsourcing.read_model_name(regclass) is 'The name of a table as a read model. Refuses a table that cannot be one.';
