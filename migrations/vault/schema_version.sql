-- The number of this schema. It only grows.

-- This is the first file after the roles, so that older files never replace newer functions.
do $$
declare
  recorded integer;
begin
  if pg_catalog.to_regprocedure('eventsourcing_vault.schema_version()') is not null then
    execute 'select eventsourcing_vault.schema_version()' into recorded;
    if recorded > 1 then
      raise exception 'the key vault has schema %, which is newer than schema 1 of these files', recorded
        using errcode = 'ES007', hint = 'apply the files of the newest version of the library that uses this vault';
    end if;
  end if;
end
$$;

create or replace function eventsourcing_vault.schema_version()
returns integer
language sql
immutable
set search_path = pg_catalog, pg_temp
as 'select 1';
comment on function eventsourcing_vault.schema_version() is 'Number of the schema.';
