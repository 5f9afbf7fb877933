-- Suspends or resumes a tenant. Waits for the append that holds the tenant's lock; the next append sees the new status. Returns
-- the former status, and changes no status but these two; NULL for an unknown tenant, and for one that has another database.
create or replace function eventsourcing.set_tenant_status(p_access uuid, p_tenant uuid, p_status text)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
declare
  former text;
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  select t.status into former from eventsourcing.tenants t where t.tenant_id = p_tenant and t.status <> 'elsewhere'
  for no key update;
  update eventsourcing.tenants t set status = p_status where t.tenant_id = p_tenant
    and t.status in ('active', 'suspended') and t.status <> p_status;
  return former;
end
$$;

comment on function eventsourcing.set_tenant_status is 'Suspends or resumes a tenant, between two of its appends.';
