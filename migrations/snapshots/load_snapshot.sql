create or replace function eventsourcing.load_snapshot(p_tenant uuid, p_aggregate_type text, p_aggregate_id text)
returns table (
  version integer, "position" double precision, event_id uuid, recorded_at timestamptz, state_version integer,
  fingerprint text, checksum text, state text, taken_at timestamptz
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
  perform eventsourcing.bind_tenant(p_tenant);
  perform eventsourcing.require_visible(p_tenant);
  return query
    select s.version, s.position::double precision, s.event_id, s.recorded_at, s.state_version, s.fingerprint, s.checksum,
      s.state, s.taken_at
    from eventsourcing.snapshots s
    where s.tenant_id = p_tenant and s.aggregate_type = p_aggregate_type and s.aggregate_id = p_aggregate_id;
end
$$;

comment on function eventsourcing.load_snapshot is 'The snapshot of a stream of the tenant; no row if there is none.';
