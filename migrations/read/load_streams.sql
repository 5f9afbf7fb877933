-- Loads the parts of events that a fold needs, for one stream or for several in one statement, because a statement costs more
-- than the events of a stream.
--
-- Returns for the n-th stream at most p_limits[n] events with p_from[n] <= version <= p_to[n], in order: in several chunks if it
-- is the only stream, otherwise in one. A stream without events has one chunk without events. The function ends early when the
-- bytes of the events reach p_max_bytes; the caller then asks again for the streams that have no chunk yet.
--
-- A chunk contains event types, schema versions and payloads of its events, all ids (raw), the version of the first event, and
-- the position and recorded_at of the last. complete may be false although the range has no events after the chunk.
--
-- Chunks are small, so that their parts stay in the caches of the processor. Payloads that are larger than their share of a
-- chunk of p_max_bytes or 4 MiB are not read; a chunk with such a payload is read again as a smaller one.
--
-- Each tenant is bound when the loop reaches its stream, so that row-level security shows only the events of that tenant.
create or replace function eventsourcing.load_streams(
  p_tenants text[], p_aggregate_types text[], p_aggregate_ids text[], p_from integer[], p_to integer[],
  p_limits integer[], p_max_bytes bigint
)
returns setof eventsourcing.event_chunk
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
-- in the order of the index, even if the planner prefers sorting, so that nothing after the page is read
set enable_sort = off
as $$
declare
  largest  constant integer := 128;
  share    constant bigint := least(p_max_bytes, 4194304) / largest;
  chunk    eventsourcing.event_chunk;
  v_tenant uuid;
  first    integer;
  left_    integer;
  size     integer;
  wanted   integer;
  fitting  bigint;
  payloads integer;
  bytes_   bigint;
  total    bigint := 0;
begin
  if nullif(current_setting('eventsourcing.tenant_id', true), '') is not null then
    -- a bound transaction refuses other tenants
    for n in 1 .. cardinality(p_tenants) loop
      perform eventsourcing.bind_tenant(p_tenants[n]::uuid);
    end loop;
  end if;
  for n in 1 .. cardinality(p_tenants) loop
    if p_tenants[n] is null then
      raise exception 'no tenant given' using errcode = 'ES002';
    end if;
    if v_tenant is distinct from p_tenants[n]::uuid then
      v_tenant := set_config('eventsourcing.tenant_id', p_tenants[n], true);
      perform eventsourcing.require_visible(v_tenant);
    end if;
    chunk.request := n;
    first := p_from[n];
    left_ := p_limits[n];
    size := largest;
    loop
      wanted := least(size, left_);
      fitting := case when wanted > 1 then share else 2147483647 end;
      -- Each aggregate function costs as much as an event. The client derives all versions from the first one.
      select count(*), count(e.payload), sum(e.bytes), array[min(e.version)], array[max(e.position)::double precision],
        string_agg(uuid_send(e.event_id), ''), timestamptz_send(max(e.recorded_at)),
        string_agg(e.event_type, U&'\001F'), array_agg(e.schema_version), string_agg(e.payload, U&'\001F')
      into chunk.events, payloads, bytes_, chunk.versions, chunk.positions,
        chunk.raw_event_ids, chunk.recorded_at,
        chunk.event_types, chunk.schema_versions, chunk.payloads
      from (
        select k.position, k.version, k.event_id, k.event_type, k.schema_version, k.recorded_at, k.bytes,
          case when k.bytes <= fitting then k.payload::text end as payload
        from eventsourcing.events k
        where k.tenant_id = v_tenant and k.aggregate_type = p_aggregate_types[n]
          and k.aggregate_id = p_aggregate_ids[n] and k.version between first and p_to[n]
        order by k.version
        limit wanted
      ) e;
      if payloads < chunk.events then
        size := greatest(chunk.events / 2, 1);
        continue;
      end if;
      chunk.complete := chunk.events < wanted or chunk.events = 0;
      return next chunk;
      total := total + coalesce(bytes_, 0);
      left_ := left_ - chunk.events;
      exit when chunk.complete or left_ <= 0 or total >= p_max_bytes or cardinality(p_tenants) > 1;
      first := chunk.versions[1] + chunk.events;
      size := least(size * 2, largest);
    end loop;
    exit when total >= p_max_bytes;
  end loop;
end
$$;

comment on function eventsourcing.load_streams is 'The parts of events that a fold needs, of one or several streams, in chunks.';
