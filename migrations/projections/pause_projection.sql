-- Stops a projection for the tenant until it is resumed, after waiting for the worker on it. p_error is its summary for the tenant.
-- Returns false if it is stopped for good already, if the tenant is unknown, or if the version is retired.
create or replace function eventsourcing.pause_projection(p_tenant uuid, p_projection text, p_version integer, p_error text)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  if eventsourcing.projection_retired(p_projection, p_version)
    or not exists (select from eventsourcing.tenants t where t.tenant_id = p_tenant)
  then
    return false;
  end if;
  insert into eventsourcing.projections as p (tenant_id, projection, version, rebuild, head, parked, error)
  values (p_tenant, p_projection, p_version, false, coalesce(
    (select e.position from eventsourcing.events e where e.tenant_id = p_tenant order by e.position desc limit 1), 0),
    true, p_error)
  on conflict (tenant_id, projection, version, rebuild) do update
    set parked = true, retry_at = null, error = p_error, failure_kind = null
    where not p.parked or p.retry_at is not null;
  return found;
end
$$;

comment on function eventsourcing.pause_projection is 'Stops a projection for the tenant until it is resumed.';
