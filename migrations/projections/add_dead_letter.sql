-- Stores an event as a dead letter. The caller moves the checkpoint past it in the same transaction.
create or replace function eventsourcing.add_dead_letter(
  p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_position bigint, p_event uuid, p_error text,
  p_attempts integer
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  insert into eventsourcing.dead_letters
    (tenant_id, projection, version, rebuild, position, event_id, error, attempts, failed_at)
  values (p_tenant, p_projection, p_version, p_rebuild, p_position, p_event, p_error, p_attempts, clock_timestamp())
  on conflict (tenant_id, projection, version, rebuild, position)
    do nothing;
end
$$;

comment on function eventsourcing.add_dead_letter is 'Stores an event that a projection gave up on as a dead letter.';
