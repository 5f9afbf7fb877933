-- Registers the tenant, unless it is registered already. Returns its status.
create or replace function eventsourcing.provision_tenant(p_tenant uuid)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  insert into eventsourcing.tenants (tenant_id) values (p_tenant) on conflict do nothing;
  return (select t.status from eventsourcing.tenants t where t.tenant_id = p_tenant);
end
$$;

comment on function eventsourcing.provision_tenant is 'Registers the tenant, unless it is registered already; returns its status.';
