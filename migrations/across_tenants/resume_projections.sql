-- Lets a parked projection (NULL: every parked projection) try again for all tenants. Returns the number of resumed rows.
create or replace function eventsourcing.resume_projections(p_access uuid, p_projection text, p_version integer)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  resumed integer;
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  update eventsourcing.projections p
  set parked = false, attempts = 0, waited_ms = 0, retry_at = null
  where p.parked and (p_projection is null or p.projection = p_projection and p.version = p_version);
  get diagnostics resumed = row_count;
  return resumed;
end
$$;

comment on function eventsourcing.resume_projections is 'Lets parked projections try again for all tenants.';
