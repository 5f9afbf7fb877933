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
-- the plan is kept, even if it is made while there are few events
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
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
      select u.n, u.earlier, p_versions[u.n] <> 1 + coalesce(u.before, s.version, 0) as jumps
      from (
        -- in the order of bytes, because that of a language takes as long as the rest
        select i.n, lag(p_versions[i.n]) over (
            partition by p_aggregate_types[i.n] collate "C", p_aggregate_ids[i.n] collate "C" order by i.n) as before,
          p_recorded_at[i.n] < coalesce(p_recorded_at[i.n - 1], head.recorded_at) as earlier
        from generate_series(1, cardinality(p_event_ids)) i (n)
      ) u
      -- Only the first event of a stream in the batch is preceded by a stored one. One look-up each, by the index in the order of
      -- versions: a join could read the whole log for each batch.
      left join lateral (
        select e.version from eventsourcing.events e
        where u.before is null and p_versions[u.n] > 1 and e.tenant_id = p_tenant
          and e.aggregate_type = p_aggregate_types[u.n] and e.aggregate_id = p_aggregate_ids[u.n]
          and e.version between p_versions[u.n] - 1 and p_versions[u.n] - 1
        order by e.version limit 1
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
    select p_tenant, p_first + i.n - 1, p_aggregate_types[i.n], p_aggregate_ids[i.n], p_versions[i.n], p_event_ids[i.n],
      p_event_types[i.n], p_schema_versions[i.n], p_occurred_at[i.n], p_recorded_at[i.n], nullif(p_actors[i.n], ''),
      p_correlation_ids[i.n], nullif(p_causation_ids[i.n], ''), p_metadata[i.n]::json, p_payloads[i.n]::json,
      octet_length(p_metadata[i.n]) + octet_length(p_payloads[i.n]), nullif(p_tags[i.n], '')::text[],
      decode(nullif(p_hashes[i.n], ''), 'hex'), nullif(p_traceparents[i.n], '')
    from generate_series(1, cardinality(p_event_ids)) i (n);
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
