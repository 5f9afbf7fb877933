create or replace function eventsourcing.tenant_status(p_tenant uuid)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  return (select t.status from eventsourcing.tenants t where t.tenant_id = p_tenant);
end
$$;

comment on function eventsourcing.tenant_status is 'active, suspended, elsewhere (it has another database), or NULL for an unknown tenant.';
