create or replace function eventsourcing.finish_rebuild(
  p_tenant uuid, p_projection text, p_version integer, p_position bigint
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  delete from eventsourcing.projections p
  where p.tenant_id = p_tenant and p.projection = p_projection and p.version = p_version and p.rebuild;
  update eventsourcing.projections p set parked = false, attempts = 0, failed_position = null, error = null, failure_kind = null,
    waited_ms = 0, retry_at = null, rebuilt = p.rebuilt + 1
  where p.tenant_id = p_tenant and p.projection = p_projection and p.version = p_version and not p.rebuild;
  perform eventsourcing.advance_projection(p_tenant, p_projection, p_version, false, p_position);
  delete from eventsourcing.dead_letters d
  where d.tenant_id = p_tenant and d.projection = p_projection and d.version = p_version and not d.rebuild;
  update eventsourcing.dead_letters d set rebuild = false
  where d.tenant_id = p_tenant and d.projection = p_projection and d.version = p_version and d.rebuild;
end
$$;

comment on function eventsourcing.finish_rebuild is 'Ends a rebuild: its checkpoint and its dead letters replace the live ones.';
