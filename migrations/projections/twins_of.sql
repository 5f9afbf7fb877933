-- The identity of the twins of read models. Twins with another identity are new, and empty.
create or replace function eventsourcing.twins_of(p_tables text[])
returns text
language sql
stable
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
  select coalesce(string_agg(c.oid::text, ',' order by c.relname), '')
  from pg_class c
  where c.relnamespace = 'eventsourcing_rebuild'::regnamespace and c.relkind = 'r' and c.relname = any (p_tables::name[])
$$;

comment on function eventsourcing.twins_of is 'The identity of the present twins of read models.';
