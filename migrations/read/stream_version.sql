create or replace function eventsourcing.stream_version(p_tenant uuid, p_aggregate_type text, p_aggregate_id text)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
-- as in append
set enable_sort = off
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  perform eventsourcing.require_visible(p_tenant);
  return coalesce((
    select e.version from eventsourcing.events e
    where e.tenant_id = p_tenant and e.aggregate_type = p_aggregate_type and e.aggregate_id = p_aggregate_id
    order by e.version desc limit 1
  ), 0);
end
$$;

comment on function eventsourcing.stream_version is 'The version of a stream of the tenant; 0 if it has no events.';
