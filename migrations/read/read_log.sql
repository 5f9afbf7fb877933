create or replace function eventsourcing.read_log(
  p_tenant uuid, p_from bigint, p_to bigint, p_recorded_from timestamptz, p_recorded_before timestamptz,
  p_aggregate_types text[], p_event_types text[], p_query jsonb, p_backwards boolean, p_limit integer,
  p_max_bytes bigint
)
returns setof eventsourcing.stored_event
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
-- as in read_stream
set enable_sort = off
as $$
declare
  first     bigint := p_from;
  last      bigint := p_to;
  positions bigint[];
begin
  perform eventsourcing.bind_tenant(p_tenant);
  if p_recorded_from is not null then
    first := greatest(first, eventsourcing.position_at(p_tenant, p_recorded_from));
  end if;
  if p_recorded_before is not null then
    last := least(last, eventsourcing.position_at(p_tenant, p_recorded_before) - 1);
  end if;
  if p_query is not null then
    -- with one more, which says whether there are more
    positions := eventsourcing.matching_positions(
      p_tenant, p_query, first, last, p_aggregate_types, p_event_types, p_backwards, least(p_limit, 2147483646) + 1);
    return query
      select e.position::double precision, e.aggregate_type, e.aggregate_id, e.version, e.event_id, e.event_type,
        e.schema_version, e.occurred_at, e.recorded_at, e.actor, e.correlation_id, e.causation_id,
        e.metadata::text, e.payload::text, e.more, e.tags, encode(e.hash, 'hex')
      from (
        select m.*, p.place, sum(m.bytes) over page as total, lead(true, 1, false) over page as more
        from unnest(positions) with ordinality p (position, place)
        -- one index lookup per event, whatever the planner knows of the log
        cross join lateral (
          select k.* from eventsourcing.events k
          where k.tenant_id = p_tenant and k.position between p.position and p.position order by k.position limit 1
        ) m
        window page as (order by p.place rows unbounded preceding)
        order by p.place
        limit p_limit
      ) e
      where e.total - e.bytes < p_max_bytes
      order by e.place;
  elsif p_backwards then
    return query
      select e.position::double precision, e.aggregate_type, e.aggregate_id, e.version, e.event_id, e.event_type,
        e.schema_version, e.occurred_at, e.recorded_at, e.actor, e.correlation_id, e.causation_id,
        e.metadata::text, e.payload::text, e.more, e.tags, encode(e.hash, 'hex')
      from (
        select e.*, sum(e.bytes) over page as total, lead(true, 1, false) over page as more
        from eventsourcing.events e
        where e.tenant_id = p_tenant and e.position between first and last
          and (p_aggregate_types is null or e.aggregate_type = any (p_aggregate_types))
          and (p_event_types is null or e.event_type = any (p_event_types))
        window page as (order by e.position desc rows unbounded preceding)
        order by e.position desc
        limit p_limit
      ) e
      where e.total - e.bytes < p_max_bytes
      order by e.position desc;
  else
    return query
      select e.position::double precision, e.aggregate_type, e.aggregate_id, e.version, e.event_id, e.event_type,
        e.schema_version, e.occurred_at, e.recorded_at, e.actor, e.correlation_id, e.causation_id,
        e.metadata::text, e.payload::text, e.more, e.tags, encode(e.hash, 'hex')
      from (
        select e.*, sum(e.bytes) over page as total, lead(true, 1, false) over page as more
        from eventsourcing.events e
        where e.tenant_id = p_tenant and e.position between first and last
          and (p_aggregate_types is null or e.aggregate_type = any (p_aggregate_types))
          and (p_event_types is null or e.event_type = any (p_event_types))
        window page as (order by e.position rows unbounded preceding)
        order by e.position
        limit p_limit
      ) e
      where e.total - e.bytes < p_max_bytes
      order by e.position;
  end if;
end
$$;

comment on function eventsourcing.read_log is 'One page of the log of the tenant.';
