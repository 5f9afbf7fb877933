-- Parks a rebuild of a read model that all tenants share, for all of them.
create or replace function eventsourcing.park_shared_rebuild(
  p_access uuid, p_projection text, p_version integer, p_error text
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  update eventsourcing.projections p
  set parked = true, attempts = 1, failed_position = p.position + 1, error = left(p_error, 1000), failure_kind = 'schema',
    waited_ms = 0, retry_at = null
  where p.projection = p_projection and p.version = p_version and p.rebuild;
end
$$;

comment on function eventsourcing.park_shared_rebuild is
  'Parks a rebuild of a read model that all tenants share.';
