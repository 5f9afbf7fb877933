-- Refuses a tenant that has its own database, in a pool and by its owner, even if the directory sends it there. Its rows in
-- the pool, if it has any, stay. admit_tenant admits it again.
create or replace function eventsourcing.exclude_tenant(p_tenant uuid)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  before constant text := current_setting('role');
begin
  if exists (select from eventsourcing.placements p where p.here and p.dedicated) then
    raise exception 'a dedicated database accepts only the tenants that were admitted, so it excludes none';
  end if;
  perform eventsourcing.provision_tenant(p_tenant);
  -- the only role with the right; the update waits for an append of the tenant
  perform set_config('role', 'eventsourcing_all_tenants_owner', true);
  update eventsourcing.tenants t set status = 'elsewhere'
  where t.tenant_id = p_tenant and t.status in ('active', 'suspended');
  perform set_config('role', before, true);
end
$$;

comment on function eventsourcing.exclude_tenant(uuid) is 'Refuses a tenant with its own database in a pool, as the owner of the pool.';
