-- Retires a version of a projection for all tenants. The next announcement removes its progress. Returns false if the version is
-- not registered or already retired.
create or replace function eventsourcing.retire_projection(p_access uuid, p_projection text, p_version integer)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  update eventsourcing.projection_versions v set retired_at = clock_timestamp()
  where v.projection = p_projection and v.version = p_version and v.retired_at is null;
  return found;
end
$$;

comment on function eventsourcing.retire_projection is 'Retires a version of a projection for all tenants.';
