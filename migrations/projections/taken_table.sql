-- The first of the tables that another projection or version fills, and that one; a version in use before a retired one. The
-- caller has locked projection_versions, so that of two versions that are registered at the same time, one sees the other.
create or replace function eventsourcing.taken_table(p_projection text, p_version integer, p_tables text[])
returns table (read_model text, filled_by text, filled_by_version integer, filled_by_retired boolean)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
  select t.name, v.projection::text, v.version, v.retired_at is not null
  from eventsourcing.projection_versions v
  cross join lateral unnest(v.tables) t (name)
  where t.name = any (p_tables) and (v.projection, v.version) <> (p_projection, p_version)
  order by v.retired_at is not null, v.version desc
  limit 1
$$;

comment on function eventsourcing.taken_table is 'The first of the tables that another projection or version fills, and that one.';
