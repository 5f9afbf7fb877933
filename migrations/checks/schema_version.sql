-- The number of this schema, and the lowest number of a program that may use it. A program has the number of the schema that it
-- was shipped with. Both numbers only grow.

-- This is the first file after the roles, so that an older program, or older files, never replace newer functions.
do $$
declare
  recorded integer;
begin
  if pg_catalog.to_regprocedure('eventsourcing.schema_version()') is not null then
    execute 'select eventsourcing.schema_version()' into recorded;
    if recorded > 1 then
      raise exception 'the database has schema %, which is newer than schema 1 of these files', recorded
        using errcode = 'ES007', hint = 'apply the files of the newest version of the library that uses this database';
    end if;
  end if;
end
$$;

create or replace function eventsourcing.schema_version()
returns integer
language sql
immutable
set search_path = pg_catalog, pg_temp
as 'select 1';
comment on function eventsourcing.schema_version() is 'Number of the schema.';

create or replace function eventsourcing.lowest_program()
returns integer
language sql
immutable
set search_path = pg_catalog, pg_temp
as 'select 1';
comment on function eventsourcing.lowest_program() is 'The lowest schema number of a program that may use this schema.';
