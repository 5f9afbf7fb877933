-- Fast path for the common case: one new event for one stream, active tenant, no hash chain, no quota, lock free, not the first
-- event of the log, expected version met, no subject forgotten meanwhile. Otherwise it changes nothing and returns NULL; append then waits, or returns the reason.
--
-- Returns the position of the event, its version, and its recorded time in milliseconds since 1970. An array, because a record
-- takes the procedure around it some 15 us longer.
create or replace function eventsourcing.append_one(
  in p_tenant         uuid,
  in p_aggregate_type text,
  in p_aggregate_id   text,
  in p_expected       integer,
  in p_expected_id    uuid,
  in p_event_id       uuid,
  in p_event_type     text,
  in p_schema_version integer,
  in p_occurred_at    timestamptz,
  in p_actor          text,
  in p_correlation_id text,
  in p_causation_id   text,
  in p_traceparent    text,
  in p_metadata       text,
  in p_payload        text,
  in p_tags           text[],
  in p_forgotten      integer,   -- the writer's number of forgotten subjects; NULL: not compared
  out answer          double precision[]
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
-- as in append
set enable_seqscan = off set enable_sort = off
as $$
#variable_conflict use_column
declare
  bound text := current_setting('eventsourcing.tenant_id', true);
  now_  timestamptz;
begin
  if bound = '' or bound is null then
    -- as bind_tenant does; a call of it takes longer
    bound := set_config('eventsourcing.tenant_id', p_tenant::text, true);
  else
    bound := eventsourcing.bind_tenant(p_tenant)::text;
  end if;
  perform from eventsourcing.tenants t
  where t.tenant_id = p_tenant and t.status = 'active' and t.chained_from is null and t.quota is null
    and (p_forgotten is null or t.forgotten_subjects = p_forgotten)
  for no key update skip locked;
  if not found then
    return;
  end if;
  now_ := date_trunc('milliseconds', clock_timestamp());
  -- a statement of its own, so that it sees the commit of the previous holder of the lock
  insert into eventsourcing.events (
    tenant_id, position, aggregate_type, aggregate_id, version, event_id, event_type, schema_version,
    occurred_at, recorded_at, actor, correlation_id, causation_id, metadata, payload, bytes, tags, traceparent
  )
  select p_tenant, n.position + 1, p_aggregate_type, p_aggregate_id, n.version + 1, p_event_id, p_event_type,
    p_schema_version, p_occurred_at, greatest(now_, n.recorded_at), p_actor,
    p_correlation_id, p_causation_id, p_metadata::json, p_payload::json,
    octet_length(p_metadata) + octet_length(p_payload), p_tags, p_traceparent
  from (
    select h.position, h.recorded_at, coalesce(l.version, 0) as version, l.event_id
    from (
      select e.position, e.recorded_at from eventsourcing.events e
      where e.tenant_id = p_tenant order by e.position desc limit 1
    ) h
    left join lateral (
      select e.version, e.event_id from eventsourcing.events e
      where e.tenant_id = p_tenant and e.aggregate_type = p_aggregate_type and e.aggregate_id = p_aggregate_id
        and e.version >= greatest(p_expected, 0)
      order by e.version desc limit 1
    ) l on true
  ) n
  where case p_expected when -1 then true when -2 then n.version > 0 else n.version = p_expected end
    and (p_expected_id is null or n.event_id = p_expected_id)
  -- append finds out which event is stored already
  on conflict (tenant_id, event_id) do nothing
  returning array[events.position, events.version, date_part('epoch', events.recorded_at) * 1000] into answer;
  if p_tags is not null and found then
    insert into eventsourcing.event_tags (tenant_id, tag, position, event_type)
    select p_tenant, t.tag, answer[1], p_event_type from unnest(p_tags) t (tag);
  end if;
  if answer[1]::bigint % 1024 = 0 then
    perform eventsourcing.summarise_blocks(p_tenant, answer[1]::bigint, answer[1]::bigint);
  end if;
end
$$;

comment on function eventsourcing.append_one is 'Appends one event in the common case; NULL in any other. Locks the row of its tenant.';
