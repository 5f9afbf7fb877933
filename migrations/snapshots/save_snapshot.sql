-- Saves a snapshot, unless there is one of a higher version. A snapshot that proved unusable (p_useless_version and
-- p_useless_checksum; NULL if there is none) is replaced in any case. Returns true if the snapshot was saved.
create or replace function eventsourcing.save_snapshot(
  p_tenant uuid, p_aggregate_type text, p_aggregate_id text, p_version integer, p_position bigint, p_event_id uuid,
  p_recorded_at timestamptz, p_state_version integer, p_fingerprint text, p_checksum text, p_state text,
  p_useless_version integer, p_useless_checksum text
)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  perform eventsourcing.require_visible(p_tenant);
  insert into eventsourcing.snapshots as s (
    tenant_id, aggregate_type, aggregate_id, version, position, event_id, recorded_at, state_version, fingerprint,
    checksum, state, taken_at
  )
  values (
    p_tenant, p_aggregate_type, p_aggregate_id, p_version, p_position, p_event_id, p_recorded_at, p_state_version,
    p_fingerprint, p_checksum, p_state, date_trunc('milliseconds', clock_timestamp())
  )
  on conflict (tenant_id, aggregate_type, aggregate_id) do update
  set version = excluded.version, position = excluded.position, event_id = excluded.event_id,
    recorded_at = excluded.recorded_at, state_version = excluded.state_version, fingerprint = excluded.fingerprint,
    checksum = excluded.checksum, state = excluded.state, taken_at = excluded.taken_at
  where s.version <= excluded.version or s.version = p_useless_version and s.checksum = p_useless_checksum;
  return found;
end
$$;

comment on function eventsourcing.save_snapshot is 'Saves a snapshot of a stream of the tenant, unless there is a newer one.';
