-- Events of the tenant's log with p_from <= position <= p_to, of the given aggregate and event types (NULL: all), ascending, in
-- chunks of up to 128. Chunks without events are left out. The payloads of a chunk with an event of more than 8 kB are NULL,
-- because a row must not get too large; read_log returns them.
--
-- PostgreSQL inlines this query, so that each chunk is sent as soon as it is made. So the function has nothing that would prevent
-- inlining: no settings (begin_reading makes them), no rights of an owner, and no procedural language. It runs with the caller's
-- rights and search path, and therefore qualifies all names.
create or replace function eventsourcing.stream_log(
  p_tenant uuid, p_from bigint, p_to bigint, p_aggregate_types text[], p_event_types text[]
)
returns setof eventsourcing.event_chunk
language sql
stable
as $$
  select c.*
  from pg_catalog.generate_series(p_from, p_to, 128) s (first), lateral (
    select
      null::pg_catalog.int4,
      pg_catalog.count(*)::pg_catalog.int4,
      false,
      pg_catalog.array_agg(e.position::pg_catalog.float8),
      pg_catalog.string_agg(e.aggregate_type, U&'\001F'),
      pg_catalog.string_agg(e.aggregate_id, U&'\001F'),
      pg_catalog.array_agg(e.version),
      pg_catalog.string_agg(e.event_id::pg_catalog.text, ''),
      null::pg_catalog.bytea,
      pg_catalog.string_agg(e.event_type, U&'\001F'),
      pg_catalog.array_agg(e.schema_version),
      pg_catalog.string_agg(pg_catalog.timestamptz_send(e.occurred_at), ''),
      pg_catalog.string_agg(pg_catalog.timestamptz_send(e.recorded_at), ''),
      pg_catalog.string_agg(e.correlation_id, U&'\001F'),
      case when pg_catalog.bool_and(e.bytes operator(pg_catalog.<=) 8192) then
        pg_catalog.string_agg(case when e.bytes operator(pg_catalog.<=) 8192 then e.payload::pg_catalog.text end, U&'\001F')
      end,
      pg_catalog.array_agg(e.actor) filter (where e.actor is not null),
      pg_catalog.array_agg(e.position::pg_catalog.float8) filter (where e.actor is not null),
      pg_catalog.array_agg(e.causation_id) filter (where e.causation_id is not null),
      pg_catalog.array_agg(e.position::pg_catalog.float8) filter (where e.causation_id is not null),
      -- {} has two bytes, and one for their length
      pg_catalog.array_agg(e.metadata::pg_catalog.text)
        filter (where e.bytes operator(pg_catalog.<=) 8192 and pg_catalog.pg_column_size(e.metadata) operator(pg_catalog.>) 3),
      pg_catalog.array_agg(e.position::pg_catalog.float8)
        filter (where e.bytes operator(pg_catalog.<=) 8192 and pg_catalog.pg_column_size(e.metadata) operator(pg_catalog.>) 3),
      pg_catalog.array_agg(pg_catalog.to_json(e.tags)::pg_catalog.text) filter (where e.tags is not null),
      pg_catalog.array_agg(e.position::pg_catalog.float8) filter (where e.tags is not null),
      pg_catalog.array_agg(pg_catalog.encode(e.hash, 'hex')) filter (where e.hash is not null),
      pg_catalog.array_agg(e.position::pg_catalog.float8) filter (where e.hash is not null),
      pg_catalog.array_agg(e.traceparent) filter (where e.traceparent is not null),
      pg_catalog.array_agg(e.position::pg_catalog.float8) filter (where e.traceparent is not null)
    from (
      select k.* from eventsourcing.events k
      where k.tenant_id operator(pg_catalog.=) p_tenant
        and k.position operator(pg_catalog.>=) s.first
        and k.position operator(pg_catalog.<) (s.first operator(pg_catalog.+) 128)
        and k.position operator(pg_catalog.<=) p_to
        and (p_aggregate_types is null or k.aggregate_type operator(pg_catalog.=) any (p_aggregate_types))
        and (p_event_types is null or k.event_type operator(pg_catalog.=) any (p_event_types))
      order by k.position
    ) e
  ) c (
    request, events, complete, positions, aggregate_types, aggregate_ids, versions, event_ids, raw_event_ids,
    event_types, schema_versions, occurred_at, recorded_at, correlation_ids, payloads, actors, actors_at,
    causation_ids, causation_ids_at, metadata, metadata_at, tags, tags_at, hashes, hashes_at, traceparents,
    traceparents_at
  )
  where c.events operator(pg_catalog.>) 0
$$;

comment on function eventsourcing.stream_log is 'A part of the log of the tenant, in chunks that are sent as they are made.';
