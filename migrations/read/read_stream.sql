-- Events of one stream with p_from <= version <= p_to: the first p_limit, or the last ones if p_backwards. Chunks are those of
-- read_log, and so is the early end.
create or replace function eventsourcing.read_stream(
  p_tenant uuid, p_aggregate_type text, p_aggregate_id text, p_from integer, p_to integer,
  p_backwards boolean, p_limit integer, p_max_bytes bigint
)
returns setof eventsourcing.event_chunk
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
-- as in load_streams
set enable_sort = off
as $$
declare
  -- as in load_streams
  largest constant integer := 128;
  share   constant bigint := least(p_max_bytes, 4194304) / largest;
  chunk   eventsourcing.event_chunk;
  first   integer := p_from;
  last    integer := p_to;
  left_   integer := p_limit;
  size    integer := largest;
  wanted  integer;
  fitting bigint;
  larger  integer;
  bytes_  bigint;
  total   bigint := 0;
begin
  perform eventsourcing.bind_tenant(p_tenant);
  perform eventsourcing.require_visible(p_tenant);
  if p_backwards then
    last := (
      select e.version from eventsourcing.events e
      where e.tenant_id = p_tenant and e.aggregate_type = p_aggregate_type and e.aggregate_id = p_aggregate_id
        and e.version between p_from and p_to
      order by e.version desc limit 1);
  end if;
  loop
    wanted := case when total >= p_max_bytes then 1 else least(size, left_) end;
    fitting := case when wanted > 1 then share else 2147483647 end;
    if p_backwards then
      -- versions have no gaps
      first := greatest(p_from, last - wanted + 1);
    end if;
    select count(*), count(*) filter (where e.bytes > fitting), sum(e.bytes),
      array_agg(e.position::double precision), array_agg(e.version), string_agg(e.event_id::text, ''),
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
      chunk.positions, chunk.versions, chunk.event_ids,
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
      select k.* from eventsourcing.events k
      where k.tenant_id = p_tenant and k.aggregate_type = p_aggregate_type and k.aggregate_id = p_aggregate_id
        and k.version between first and last
      order by k.version
      limit wanted
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
    if p_backwards then
      last := first - 1;
    else
      first := chunk.versions[chunk.events] + 1;
    end if;
    size := least(size * 2, largest);
  end loop;
end
$$;

comment on function eventsourcing.read_stream is 'One page of a stream of the tenant, in chunks.';
