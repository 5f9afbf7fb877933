-- Moves the checkpoint: the read model contains everything up to p_position. Clears the failure unless it is further on. Returns
-- the head of the log.
create or replace function eventsourcing.advance_projection(
  p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_position bigint
)
returns double precision
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
declare
  log_head bigint;
begin
  perform eventsourcing.bind_tenant(p_tenant);
  log_head := coalesce(
    (select e.position from eventsourcing.events e where e.tenant_id = p_tenant order by e.position desc limit 1), 0);
  update eventsourcing.projections p
  set position = p_position, head = greatest(p_position, log_head), served_at = clock_timestamp(), parked = false,
    attempts = case when p.failed_position > p_position then p.attempts else 0 end,
    error = case when p.failed_position > p_position then p.error end,
    failure_kind = case when p.failed_position > p_position then p.failure_kind end,
    waited_ms = case when p.failed_position > p_position then p.waited_ms else 0 end,
    retry_at = case when p.failed_position > p_position then p.retry_at end,
    failed_position = case when p.failed_position > p_position then p.failed_position end
  where p.tenant_id = p_tenant and p.projection = p_projection and p.version = p_version and p.rebuild = p_rebuild;
  return log_head;
end
$$;

comment on function eventsourcing.advance_projection is 'Moves the checkpoint of a projection; returns the head of the log.';
