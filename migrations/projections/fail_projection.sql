-- A handler failed at p_failed_position. Tries again after p_retry_in milliseconds; NULL: parks the projection for this
-- tenant. Does nothing if somebody else has gone past that position since.
create or replace function eventsourcing.fail_projection(
  p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_failed_position bigint,
  p_attempts integer, p_error text, p_retry_in double precision
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  update eventsourcing.projections p
  set attempts = p_attempts, failed_position = p_failed_position, error = p_error, served_at = clock_timestamp(),
    parked = p_retry_in is null,
    retry_at = clock_timestamp() + p_retry_in * interval '1 millisecond'
  where p.tenant_id = p_tenant and p.projection = p_projection and p.version = p_version and p.rebuild = p_rebuild
    and p.position < p_failed_position;
end
$$;

comment on function eventsourcing.fail_projection is 'Records a failure: try again later, or park.';
