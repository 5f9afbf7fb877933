-- The placement to which the tenant has moved; NULL if it has not moved from here.
create or replace function eventsourcing.moved_to(p_tenant uuid)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  return (
    select t.undertaking ->> 'to' from eventsourcing.tenants t where t.tenant_id = p_tenant and t.status = 'moved');
end
$$;

comment on function eventsourcing.moved_to(uuid) is 'The placement to which the tenant has moved.';
