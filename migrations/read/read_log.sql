-- Events of the tenant's log with p_from <= position <= p_to: the first p_limit, or the last ones if p_backwards. Further
-- conditions, each of which may be NULL: recorded at or after p_recorded_from and before p_recorded_before, of one of the
-- aggregate types and of one of the event types, matching the query. Chunks follow the direction of reading; events within a
-- chunk are ascending. The function ends early with the chunk that brings the bytes to p_max_bytes. A last chunk without events
-- only tells by its column complete if the range has more events.
create or replace function eventsourcing.read_log(
  p_tenant uuid, p_from bigint, p_to bigint, p_recorded_from timestamptz, p_recorded_before timestamptz,
  p_aggregate_types text[], p_event_types text[], p_query jsonb, p_backwards boolean, p_limit integer,
  p_max_bytes bigint
)
returns setof eventsourcing.event_chunk
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
-- by the index, even if the planner prefers sorting, or made its plan while the log was small
set enable_sort = off set enable_seqscan = off set enable_bitmapscan = off
as $$
declare
  -- as in load_streams
  largest  constant integer := 128;
  share    constant bigint := least(p_max_bytes, 4194304) / largest;
  chunk    eventsourcing.event_chunk;
  first    bigint := p_from;
  last     bigint := p_to;
  searched constant boolean := p_query is not null or p_backwards;
  matching bigint[];
  left_    integer := p_limit;
  size     integer := largest;
  wanted   integer;
  fitting  bigint;
  larger   integer;
  bytes_   bigint;
  total    bigint := 0;
begin
  perform eventsourcing.bind_tenant(p_tenant);
  perform eventsourcing.require_visible(p_tenant);
  if p_recorded_from is not null then
    first := greatest(first, eventsourcing.position_at(p_tenant, p_recorded_from));
  end if;
  if p_recorded_before is not null then
    last := least(last, eventsourcing.position_at(p_tenant, p_recorded_before) - 1);
  end if;
  if searched then
    matching := eventsourcing.matching_positions(
      p_tenant, coalesce(p_query, '[{"tags": []}]'), first, last, p_aggregate_types, p_event_types, p_backwards, p_limit);
  end if;
  loop
    wanted := case when total >= p_max_bytes then 1 else least(size, left_) end;
    fitting := case when wanted > 1 then share else 2147483647 end;
    select count(*), count(*) filter (where e.bytes > fitting), sum(e.bytes),
      array_agg(e.position::double precision), string_agg(e.aggregate_type, U&'\001F'),
      string_agg(e.aggregate_id, U&'\001F'), array_agg(e.version), string_agg(e.event_id::text, ''),
      string_agg(e.event_type, U&'\001F'), array_agg(e.schema_version),
      string_agg(timestamptz_send(e.occurred_at), ''), string_agg(timestamptz_send(e.recorded_at), ''),
      string_agg(e.correlation_id, U&'\001F'),
      string_agg(case when e.bytes <= fitting then e.payload::text end, U&'\001F'),
      array_agg(e.actor) filter (where e.actor is not null),
      array_agg(e.position::double precision) filter (where e.actor is not null),
      array_agg(e.causation_id) filter (where e.causation_id is not null),
      array_agg(e.position::double precision) filter (where e.causation_id is not null),
      -- {} has two bytes, and one for their length
      array_agg(e.metadata::text) filter (where e.bytes <= fitting and pg_column_size(e.metadata) > 3),
      array_agg(e.position::double precision) filter (where pg_column_size(e.metadata) > 3),
      array_agg(to_json(e.tags)::text) filter (where e.tags is not null),
      array_agg(e.position::double precision) filter (where e.tags is not null),
      array_agg(encode(e.hash, 'hex')) filter (where e.hash is not null),
      array_agg(e.position::double precision) filter (where e.hash is not null),
      array_agg(e.traceparent) filter (where e.traceparent is not null),
      array_agg(e.position::double precision) filter (where e.traceparent is not null)
    into chunk.events, larger, bytes_,
      chunk.positions, chunk.aggregate_types,
      chunk.aggregate_ids, chunk.versions, chunk.event_ids,
      chunk.event_types, chunk.schema_versions,
      chunk.occurred_at, chunk.recorded_at,
      chunk.correlation_ids,
      chunk.payloads,
      chunk.actors, chunk.actors_at,
      chunk.causation_ids, chunk.causation_ids_at,
      chunk.metadata, chunk.metadata_at,
      chunk.tags, chunk.tags_at,
      chunk.hashes, chunk.hashes_at,
      chunk.traceparents, chunk.traceparents_at
    from (
      (select k.* from eventsourcing.events k
        where not searched and k.tenant_id = p_tenant and k.position between first and last
          and (p_aggregate_types is null or k.aggregate_type = any (p_aggregate_types))
          and (p_event_types is null or k.event_type = any (p_event_types))
        order by k.position limit wanted)
      union all
      -- one look-up per position: before PostgreSQL 17, "= any" in the order of the index would read the whole index
      (select k.* from unnest(matching[1:wanted]) m (at)
        cross join lateral (
          select x.* from eventsourcing.events x
          where x.tenant_id = p_tenant and x.position between m.at and m.at
          order by x.position limit 1
        ) k
        order by k.position)
    ) e;
    if chunk.events = 0 or total >= p_max_bytes then
      larger := chunk.events;
      chunk := null;
      chunk.events := 0;
      chunk.complete := larger = 0;
      return next chunk;
      exit;
    end if;
    if larger > 0 and wanted > 1 then
      size := greatest(chunk.events / 2, 1);
      continue;
    end if;
    chunk.complete := chunk.events < wanted;
    return next chunk;
    left_ := left_ - chunk.events;
    exit when chunk.complete or left_ <= 0;
    total := total + bytes_;
    if searched then
      matching := matching[wanted + 1 :];
    else
      first := chunk.positions[chunk.events] + 1;
    end if;
    size := least(size * 2, largest);
  end loop;
end
$$;

comment on function eventsourcing.read_log is 'One page of the log of the tenant, in chunks.';
