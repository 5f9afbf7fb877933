-- Reading many events fast: in chunks, each a row with its events as columns. That costs the server as much as rows do,
-- and the client a third.

-- Events of the tenant's log with p_from <= position <= p_to, of the given aggregate and event types (NULL: all), in order.
-- Ends after p_limit events, or with the event behind the chunk that brings their bytes to p_max_bytes: that one is
-- marked as beyond, and says that there are more. Chunks are small: what they are put together from stays in the caches
-- of the processor. No payload is read that is larger than its share of a chunk of p_max_bytes or 4 MiB.
--
-- Constant columns have one element, texts are joined by line feeds, ids by nothing. Rare columns have what is not NULL
-- (of metadata: not empty), with the positions of its events. positions is NULL if there are no gaps. A payload that is
-- too large is NULL.
create or replace function eventsourcing.read_log_columns(
  p_tenant uuid, p_from bigint, p_to bigint, p_aggregate_types text[], p_event_types text[], p_limit integer,
  p_max_bytes bigint
)
returns table (
  beyond boolean, events integer, first_position double precision, positions double precision[], aggregate_types text[],
  aggregate_ids text, versions integer[], event_ids text, event_types text, schema_versions integer[],
  occurred_at bytea, recorded_at bytea, actors text[], actors_at double precision[], correlation_ids text,
  causation_ids text[], causation_ids_at double precision[], metadata text[], metadata_at double precision[],
  payloads text[], tags text[], tags_at double precision[], hashes text[], hashes_at double precision[]
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
-- as in read_stream
set enable_sort = off
as $$
declare
  chunk   constant integer := 128;
  largest constant bigint := least(p_max_bytes, 4194304) / chunk;
  first   bigint := p_from;
  last    bigint;
  wanted  integer;
  left_   integer := p_limit;
  size    bigint;
  total   bigint := 0;
begin
  perform eventsourcing.bind_tenant(p_tenant);
  loop
    beyond := total >= p_max_bytes;
    wanted := case when beyond then 1 else least(chunk, left_) end;
    select count(*), max(e.position), sum(e.bytes), min(e.position),
      case when max(e.position) - min(e.position) >= count(*) then array_agg(e.position::double precision) end,
      case when min(e.aggregate_type) = max(e.aggregate_type) then array[min(e.aggregate_type)]
        else array_agg(e.aggregate_type) end,
      string_agg(e.aggregate_id, E'\n'), array_agg(e.version), string_agg(e.event_id::text, ''),
      string_agg(e.event_type, E'\n'),
      case when min(e.schema_version) = max(e.schema_version) then array[min(e.schema_version)]
        else array_agg(e.schema_version) end,
      string_agg(timestamptz_send(e.occurred_at), ''), string_agg(timestamptz_send(e.recorded_at), ''),
      array_agg(e.actor) filter (where e.actor is not null),
      array_agg(e.position::double precision) filter (where e.actor is not null),
      string_agg(e.correlation_id, E'\n'),
      array_agg(e.causation_id) filter (where e.causation_id is not null),
      array_agg(e.position::double precision) filter (where e.causation_id is not null),
      array_agg(e.metadata) filter (where e.metadata is not null),
      array_agg(e.position::double precision) filter (where e.metadata is not null),
      array_agg(e.payload),
      array_agg(to_json(e.tags)::text) filter (where e.tags is not null),
      array_agg(e.position::double precision) filter (where e.tags is not null),
      array_agg(encode(e.hash, 'hex')) filter (where e.hash is not null),
      array_agg(e.position::double precision) filter (where e.hash is not null)
    into events, last, size, first_position, positions, aggregate_types, aggregate_ids, versions, event_ids, event_types,
      schema_versions, occurred_at, recorded_at, actors, actors_at, correlation_ids, causation_ids, causation_ids_at,
      metadata, metadata_at, payloads, tags, tags_at, hashes, hashes_at
    from (
      select k.position, k.aggregate_type, k.aggregate_id, k.version, k.event_id, k.event_type, k.schema_version,
        k.occurred_at, k.recorded_at, k.actor, k.correlation_id, k.causation_id, k.bytes, k.tags, k.hash,
        case when k.bytes <= largest then k.payload::text end as payload,
        -- two bytes and their length: nothing but {}
        case when k.bytes <= largest and pg_column_size(k.metadata) > 3 then k.metadata::text end as metadata
      from eventsourcing.events k
      where k.tenant_id = p_tenant and k.position between first and p_to
        and (p_aggregate_types is null or k.aggregate_type = any (p_aggregate_types))
        and (p_event_types is null or k.event_type = any (p_event_types))
      order by k.position
      limit wanted
    ) e;
    exit when events = 0;
    return next;
    exit when beyond or events < wanted or events = left_;
    first := last + 1;
    left_ := left_ - events;
    total := total + size;
  end loop;
end
$$;

comment on function eventsourcing.read_log_columns is 'One page of the log of the tenant, in chunks.';
