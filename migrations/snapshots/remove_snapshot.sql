create or replace function eventsourcing.remove_snapshot(p_tenant uuid, p_aggregate_type text, p_aggregate_id text)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  delete from eventsourcing.snapshots s
  where s.tenant_id = p_tenant and s.aggregate_type = p_aggregate_type and s.aggregate_id = p_aggregate_id;
  return found;
end
$$;

comment on function eventsourcing.remove_snapshot is 'Removes the snapshot of a stream of the tenant.';
