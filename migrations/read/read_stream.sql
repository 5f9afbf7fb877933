-- Events of one stream with p_from <= version <= p_to, ascending or descending.
create or replace function eventsourcing.read_stream(
  p_tenant uuid, p_aggregate_type text, p_aggregate_id text, p_from integer, p_to integer,
  p_backwards boolean, p_limit integer, p_max_bytes bigint
)
returns setof eventsourcing.stored_event
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
-- in the order of the index, whatever the planner thinks of sorting: what is behind the page is not looked at
set enable_sort = off
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  if p_backwards then
    return query
      select e.position::double precision, e.aggregate_type, e.aggregate_id, e.version, e.event_id, e.event_type,
        e.schema_version, e.occurred_at, e.recorded_at, e.actor, e.correlation_id, e.causation_id,
        e.metadata::text, e.payload::text, e.more, e.tags, encode(e.hash, 'hex')
      from (
        select e.*, sum(e.bytes) over page as total, lead(true, 1, false) over page as more
        from eventsourcing.events e
        where e.tenant_id = p_tenant and e.aggregate_type = p_aggregate_type and e.aggregate_id = p_aggregate_id
          and e.version between p_from and p_to
        window page as (order by e.version desc rows unbounded preceding)
        order by e.version desc
        limit p_limit
      ) e
      where e.total - e.bytes < p_max_bytes
      order by e.version desc;
  else
    return query
      select e.position::double precision, e.aggregate_type, e.aggregate_id, e.version, e.event_id, e.event_type,
        e.schema_version, e.occurred_at, e.recorded_at, e.actor, e.correlation_id, e.causation_id,
        e.metadata::text, e.payload::text, e.more, e.tags, encode(e.hash, 'hex')
      from (
        select e.*, sum(e.bytes) over page as total, lead(true, 1, false) over page as more
        from eventsourcing.events e
        where e.tenant_id = p_tenant and e.aggregate_type = p_aggregate_type and e.aggregate_id = p_aggregate_id
          and e.version between p_from and p_to
        window page as (order by e.version rows unbounded preceding)
        order by e.version
        limit p_limit
      ) e
      where e.total - e.bytes < p_max_bytes
      order by e.version;
  end if;
end
$$;

comment on function eventsourcing.read_stream is 'One page of a stream of the tenant.';
