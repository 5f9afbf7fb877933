-- The placement of the tenant; NULL if the directory does not know the tenant.
create or replace function eventsourcing.tenant_placement(p_tenant uuid)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  return (select d.placement from eventsourcing.tenant_directory d where d.tenant_id = p_tenant);
end
$$;

comment on function eventsourcing.tenant_placement(uuid) is 'The placement of the tenant.';
