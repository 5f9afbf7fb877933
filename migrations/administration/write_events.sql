-- Writes events of an import with all their columns as given; empty texts stand for NULL. Returns {"position": end of the log},
-- with {"problem": sentence} if it has written nothing.
create or replace function eventsourcing.write_events(
  p_access          uuid,
  p_tenant          uuid,
  p_token           uuid,
  p_first           bigint,        -- position of the first event
  p_aggregate_types text[],
  p_aggregate_ids   text[],
  p_versions        integer[],
  p_event_ids       uuid[],
  p_event_types     text[],
  p_schema_versions integer[],
  p_occurred_at     timestamptz[],
  p_recorded_at     timestamptz[],
  p_actors          text[],
  p_correlation_ids text[],
  p_causation_ids   text[],
  p_metadata        text[],
  p_payloads        text[],
  p_tags            text[],        -- each an array of texts; empty array: no event has any
  p_hashes          text[],
  p_traceparents    text[]
)
returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
declare
  refused text := eventsourcing.tenant_under_import(p_access, p_tenant, p_token);
  head    record;
  wrong   bigint;
begin
  select coalesce(max(e.position), 0) as position, max(e.recorded_at) as recorded_at into head from (
    select x.position, x.recorded_at from eventsourcing.events x where x.tenant_id = p_tenant order by x.position desc limit 1
  ) e;
  if refused is null and p_first <> head.position + 1 then
    refused := format('its log ends at %s, so that the next event has position %s, not %s', head.position, head.position + 1, p_first);
  end if;
  if refused is null then
    -- versions continue their streams, and recorded times do not decrease
    select min(v.n) into wrong from (
      select u.n, u.earlier, u.version <> 1 + coalesce(u.before, s.version, 0) as jumps
      from (
        select u.n, u.type, u.id, u.version, lag(u.version) over (partition by u.type, u.id order by u.n) as before,
          u.recorded_at < lag(u.recorded_at, 1, head.recorded_at) over (order by u.n) as earlier
        from unnest(p_aggregate_types, p_aggregate_ids, p_versions, p_recorded_at)
          with ordinality u (type, id, version, recorded_at, n)
      ) u
      -- only the first event of a stream in the batch is preceded by a stored one
      left join lateral (
        select e.version from eventsourcing.events e
        where u.before is null and u.version > 1 and e.tenant_id = p_tenant and e.aggregate_type = u.type
          and e.aggregate_id = u.id and e.version = u.version - 1
      ) s on true
    ) v
    where v.jumps or v.earlier;
    if wrong is not null then
      refused := format('the version or the recorded time of the event at position %s does not continue the log', p_first + wrong - 1);
    end if;
  end if;
  if refused is not null then
    return jsonb_build_object('position', head.position, 'problem', refused);
  end if;
  begin
    insert into eventsourcing.events (
      tenant_id, position, aggregate_type, aggregate_id, version, event_id, event_type, schema_version,
      occurred_at, recorded_at, actor, correlation_id, causation_id, metadata, payload, bytes, tags, hash, traceparent
    )
    select p_tenant, p_first + u.n - 1, u.aggregate_type, u.aggregate_id, u.version, u.event_id, u.event_type, u.schema_version,
      u.occurred_at, u.recorded_at, nullif(u.actor, ''), u.correlation_id, nullif(u.causation_id, ''), u.metadata::json,
      u.payload::json, octet_length(u.metadata) + octet_length(u.payload), nullif(p_tags[u.n], '')::text[],
      decode(nullif(u.hash, ''), 'hex'), nullif(u.traceparent, '')
    from unnest(p_aggregate_types, p_aggregate_ids, p_versions, p_event_ids, p_event_types, p_schema_versions, p_occurred_at,
      p_recorded_at, p_actors, p_correlation_ids, p_causation_ids, p_metadata, p_payloads, p_hashes, p_traceparents)
      with ordinality u (aggregate_type, aggregate_id, version, event_id, event_type, schema_version, occurred_at, recorded_at,
        actor, correlation_id, causation_id, metadata, payload, hash, traceparent, n);
  exception when unique_violation then
    return jsonb_build_object('position', head.position, 'problem', 'it has one of the event ids, or versions, already');
  end;
  if cardinality(p_tags) > 0 then
    insert into eventsourcing.event_tags (tenant_id, tag, position, event_type)
    select p_tenant, t.tag, p_first + u.n - 1, p_event_types[u.n]
    from unnest(p_tags) with ordinality u (tags, n)
    cross join lateral unnest(nullif(u.tags, '')::text[]) t (tag);
  end if;
  if (head.position + cardinality(p_event_ids)) / 1024 > head.position / 1024 then
    perform eventsourcing.summarise_blocks(p_tenant, head.position + 1, head.position + cardinality(p_event_ids));
  end if;
  return jsonb_build_object('position', head.position + cardinality(p_event_ids));
end
$$;

comment on function eventsourcing.write_events is 'Writes events of an import as given.';
