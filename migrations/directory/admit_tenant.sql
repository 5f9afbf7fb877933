-- Registers a tenant in a dedicated database. Called by its owner, who has the right to do so only within this function.
create or replace function eventsourcing.admit_tenant(p_tenant uuid)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  before    constant text := current_setting('role');
  dedicated boolean;
begin
  lock table eventsourcing.placements in share row exclusive mode; -- as in name_database
  dedicated := exists (select from eventsourcing.placements p where p.here and p.dedicated);
  if dedicated then
    grant insert (tenant_id) on eventsourcing.tenants to eventsourcing_tenant;
  end if;
  perform eventsourcing.provision_tenant(p_tenant);
  if dedicated then
    revoke insert (tenant_id) on eventsourcing.tenants from eventsourcing_tenant;
  end if;
  -- as in exclude_tenant
  perform set_config('role', 'eventsourcing_all_tenants_owner', true);
  update eventsourcing.tenants t set status = 'active' where t.tenant_id = p_tenant and t.status = 'elsewhere';
  perform set_config('role', before, true);
end
$$;

comment on function eventsourcing.admit_tenant(uuid) is 'Registers a tenant in a dedicated database, as its owner.';
