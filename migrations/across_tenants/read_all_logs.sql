-- Events of all tenants after (p_after_tenant, p_after_position), ordered by tenant and position, one row per event. more is
-- true if further events follow the row. Positions are doubles, which are exact up to 2^53 and cheap to decode.
create or replace function eventsourcing.read_all_logs(
  p_access uuid, p_after_tenant uuid, p_after_position bigint, p_limit integer, p_max_bytes bigint
)
returns table (
  tenant_id uuid, "position" double precision, aggregate_type text, aggregate_id text, version integer, event_id uuid,
  event_type text, schema_version integer, occurred_at timestamptz, recorded_at timestamptz, actor text,
  correlation_id text, causation_id text, metadata text, payload text, tags text[], hash text, traceparent text,
  more boolean
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
-- as in load_streams
set enable_sort = off
as $$
#variable_conflict use_column
declare
  unseen uuid[];
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  unseen := eventsourcing.unseen_tenants(false);
  return query
    select e.tenant_id, e.position::double precision, e.aggregate_type, e.aggregate_id, e.version, e.event_id,
      e.event_type, e.schema_version, e.occurred_at, e.recorded_at, e.actor,
      e.correlation_id, e.causation_id, e.metadata::text, e.payload::text, e.tags, encode(e.hash, 'hex'), e.traceparent,
      e.more
    from (
      select e.*, sum(e.bytes) over (order by e.tenant_id, e.position rows unbounded preceding) as total,
        lead(true, 1, false) over (order by e.tenant_id, e.position) as more
      from eventsourcing.events e
      where (e.tenant_id, e.position) > (coalesce(p_after_tenant, '00000000-0000-0000-0000-000000000000'), coalesce(p_after_position, 0))
        and (unseen = '{}' or e.tenant_id <> all (unseen))
      order by e.tenant_id, e.position
      limit p_limit
    ) e
    where e.total - e.bytes < p_max_bytes
    order by e.tenant_id, e.position;
end
$$;

comment on function eventsourcing.read_all_logs is 'One page of the logs of all tenants, ordered by tenant and position.';
