-- Records that the event at p_failed_position failed. It is retried after p_retry_in milliseconds; NULL: not until it is resumed.
-- Until then the projection counts as stopped if p_parked is true. Changes nothing if the projection has passed that position
-- since. p_error is for the tenant; only operators see the cause.
create or replace function eventsourcing.fail_projection(
  p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_failed_position bigint, p_attempts integer,
  p_error text, p_kind text, p_waited_ms double precision, p_parked boolean, p_retry_in double precision, p_code text,
  p_message text, p_stack text
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  update eventsourcing.projections p
  set attempts = p_attempts, failed_position = p_failed_position, error = p_error, failure_kind = p_kind,
    waited_ms = p_waited_ms, served_at = clock_timestamp(), parked = p_parked,
    retry_at = clock_timestamp() + p_retry_in * interval '1 millisecond'
  where p.tenant_id = p_tenant and p.projection = p_projection and p.version = p_version and p.rebuild = p_rebuild
    and p.position < p_failed_position;
  if p_message is not null then
    perform eventsourcing.keep_failure_cause(
      p_tenant, p_projection, p_version, p_rebuild, p_failed_position, p_kind, p_code, p_message, p_stack);
  end if;
end
$$;

comment on function eventsourcing.fail_projection is 'Records a failure: the event is retried later, or the projection is parked.';
