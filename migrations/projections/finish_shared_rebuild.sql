-- Ends a rebuild of a read model that all tenants share, after prepare_shared_switch and after its rows have replaced the live
-- ones.
create or replace function eventsourcing.finish_shared_rebuild(p_access uuid, p_projection text, p_version integer)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  update eventsourcing.projections p
  set position = r.position, head = greatest(p.head, r.head), served_at = clock_timestamp(), parked = false, attempts = 0,
    failed_position = null, error = null, failure_kind = null, waited_ms = 0, retry_at = null, rebuilt = p.rebuilt + 1
  from eventsourcing.projections r
  where p.projection = p_projection and p.version = p_version and not p.rebuild
    and r.tenant_id = p.tenant_id and r.projection = p_projection and r.version = p_version and r.rebuild;
  delete from eventsourcing.projections p where p.projection = p_projection and p.version = p_version and p.rebuild;
  delete from eventsourcing.dead_letters d where d.projection = p_projection and d.version = p_version and not d.rebuild;
  update eventsourcing.dead_letters d set rebuild = false
  where d.projection = p_projection and d.version = p_version and d.rebuild;
  update eventsourcing.projection_versions v set rebuilding = false, held_until = null
  where v.projection = p_projection and v.version = p_version;
end
$$;

comment on function eventsourcing.finish_shared_rebuild is
  'Ends a rebuild of a read model that all tenants share: its checkpoints and dead letters replace the live ones.';
