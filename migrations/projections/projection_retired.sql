create or replace function eventsourcing.projection_retired(p_projection text, p_version integer)
returns boolean
language sql
stable
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
  select exists (
    select from eventsourcing.projection_versions v
    where v.projection = p_projection and v.version = p_version and v.retired_at is not null)
$$;

comment on function eventsourcing.projection_retired is 'True if a version of a projection is retired.';
