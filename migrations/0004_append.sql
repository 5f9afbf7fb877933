-- Appending. One call takes a batch of independent appends and gives each its own outcome.
--
-- The batch comes as flat arrays. A segment is what is done in one go: appends of one tenant that share neither a
-- stream nor an event id. Segments are ordered by tenant, so that all writers lock tenants in the same order and no
-- deadlock is possible; segments of one tenant follow each other.
--
--   segment_*  one element per segment: its tenant, and the number of the last stream and event in it
--   stream_*   one element per stream of an append: the number of the append (1..p_appends), the stream, the expected
--              version (exact, 0 = no stream; -1 any; -2 must exist)
--   event_*    one element per event, in the order of streams: number of append and stream, place in the stream (1..n),
--              and its content ('' is NULL for actor and causation)
--
-- Results, as arrays with one element per result:
--   item         number of the stream (appended, version_conflict, unknown_tenant, tenant_suspended, tenant_held: only
--                without p_wait, if somebody else has locked the tenant or it is not there; nothing is done for it) or of the event
--                (replayed, event_id_conflict)
--   outcome      as named above
--   version      of the stream before the append (appended, version_conflict), of the stored event (replayed)
--   "position"   of the tenant's log before the segment (appended), of the stored event (replayed)
--   recorded_at  when the events were recorded (appended, replayed)
--
-- Every statement is one of its own, so that it sees what the previous holder of the tenant's lock has committed.
create or replace function eventsourcing.append(
  in p_provision             boolean,
  in p_wait                  boolean,
  in p_appends               integer,
  in p_segment_tenants       uuid[],
  in p_segment_last_streams  integer[],
  in p_segment_last_events   integer[],
  in p_stream_appends        integer[],
  in p_stream_types          text[],
  in p_stream_ids            text[],
  in p_stream_expected       bigint[],
  in p_event_appends         integer[],
  in p_event_streams         integer[],
  in p_event_places          integer[],
  in p_event_ids             uuid[],
  in p_event_types           text[],
  in p_event_schema_versions integer[],
  in p_event_occurred_at     timestamptz[],
  in p_event_actors          text[],
  in p_event_correlation_ids text[],
  in p_event_causation_ids   text[],
  in p_event_metadata        text[],
  in p_event_payloads        text[],
  out item                   integer[],
  out outcome                text[],
  out version                double precision[],
  out "position"             double precision[],
  out recorded_at            timestamptz[]
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  bound         constant text := nullif(current_setting('eventsourcing.tenant_id', true), '');
  v_tenant      uuid;
  locked        uuid;
  status        text;
  held          boolean;       -- somebody else has locked the tenant, and this batch does not wait
  first_stream  integer := 1;
  last_stream   integer;
  first_event   integer := 1;
  last_event    integer;
  head          bigint;
  head_time     timestamptz;
  now_          timestamptz;
  actual        bigint[];      -- version of each stream of the segment, by its place in the segment
  refused       boolean[];     -- by number of the append
  known         record;
  expected      bigint;
begin
  refused := array_fill(false, array[p_appends]);

  for segment in 1 .. cardinality(p_segment_tenants) loop
    v_tenant := p_segment_tenants[segment];
    last_stream := p_segment_last_streams[segment];
    last_event := p_segment_last_events[segment];

    if locked is distinct from v_tenant then
      if bound is null then
        -- several tenants in one batch: each is bound in its turn, for the statements on its own log alone
        perform set_config('eventsourcing.tenant_id', '', true);
      end if;
      perform eventsourcing.bind_tenant(v_tenant);
      held := false;
      if p_wait then
        select t.status into status from eventsourcing.tenants t where t.tenant_id = v_tenant for no key update;
      else
        select t.status into status from eventsourcing.tenants t where t.tenant_id = v_tenant
        for no key update skip locked;
        -- one that is not there may be one that somebody else is just adding: adding it would wait for them
        held := status is null;
      end if;
      if status is null and not held and p_provision then
        insert into eventsourcing.tenants (tenant_id) values (v_tenant) on conflict do nothing;
        select t.status into status from eventsourcing.tenants t where t.tenant_id = v_tenant for no key update;
      end if;
      locked := v_tenant;
    end if;

    if status is distinct from 'active' then
      for s in first_stream .. last_stream loop
        item := item || s;
        outcome := outcome || case
          when held then 'tenant_held' when status is null then 'unknown_tenant' else 'tenant_suspended'
        end;
        version := version || null::double precision;
        "position" := "position" || null::double precision;
        recorded_at := recorded_at || null::timestamptz;
      end loop;
    else
      select e.position, e.recorded_at into head, head_time
      from eventsourcing.events e where e.tenant_id = v_tenant order by e.position desc limit 1;
      if not found then
        head := 0;
        head_time := null;
      end if;
      now_ := greatest(date_trunc('milliseconds', clock_timestamp()), head_time);

      select array_agg(coalesce(
        (select e.version from eventsourcing.events e
         where e.tenant_id = v_tenant and e.aggregate_type = s.aggregate_type and e.aggregate_id = s.aggregate_id
         order by e.version desc limit 1), 0) order by s.place)
      into actual
      from unnest(p_stream_types[first_stream:last_stream], p_stream_ids[first_stream:last_stream])
        with ordinality as s (aggregate_type, aggregate_id, place);

      -- An append whose events the log has already was done before: it gets its first outcome again, whatever the
      -- version is by now. This comes before the version check.
      for known in
        select n.append_no, n.event_no, e.version, e.position, e.recorded_at,
          e.aggregate_type = p_stream_types[n.stream_no] and e.aggregate_id = p_stream_ids[n.stream_no]
            and e.event_type = p_event_types[n.event_no] and e.schema_version = p_event_schema_versions[n.event_no]
            and e.payload::jsonb = p_event_payloads[n.event_no]::jsonb
            and e.metadata::jsonb = p_event_metadata[n.event_no]::jsonb as same_content
        from (
          select u.append_no, u.stream_no, u.event_id, (first_event - 1 + u.place)::integer as event_no
          from unnest(
            p_event_appends[first_event:last_event], p_event_streams[first_event:last_event],
            p_event_ids[first_event:last_event]
          ) with ordinality as u (append_no, stream_no, event_id, place)
        ) n
        -- The limit makes it one index lookup per event. As a join, planned while the table was small or not yet
        -- analyzed, it read the whole log of the tenant.
        cross join lateral (
          select k.* from eventsourcing.events k where k.tenant_id = v_tenant and k.event_id = n.event_id limit 1
        ) e
        order by n.event_no
      loop
        refused[known.append_no] := true;
        item := item || known.event_no;
        outcome := outcome || case when known.same_content then 'replayed' else 'event_id_conflict' end;
        version := version || known.version::double precision;
        "position" := "position" || known.position::double precision;
        recorded_at := recorded_at || known.recorded_at;
      end loop;

      for s in first_stream .. last_stream loop
        expected := p_stream_expected[s];
        if not refused[p_stream_appends[s]]
          and not (case expected
            when -1 then true
            when -2 then actual[s - first_stream + 1] > 0
            else actual[s - first_stream + 1] = expected
          end)
        then
          refused[p_stream_appends[s]] := true;
          item := item || s;
          outcome := outcome || 'version_conflict'::text;
          version := version || actual[s - first_stream + 1]::double precision;
          "position" := "position" || null::double precision;
          recorded_at := recorded_at || null::timestamptz;
        end if;
      end loop;

      insert into eventsourcing.events (
        tenant_id, position, aggregate_type, aggregate_id, version, event_id, event_type, schema_version,
        occurred_at, recorded_at, actor, correlation_id, causation_id, metadata, payload, bytes
      )
      select
        v_tenant, head + row_number() over (order by n.place), n.aggregate_type, n.aggregate_id,
        actual[n.stream_no - first_stream + 1] + n.stream_place, n.event_id, n.event_type, n.schema_version,
        n.occurred_at, now_, nullif(n.actor, ''), n.correlation_id, nullif(n.causation_id, ''),
        n.metadata::json, n.payload::json, octet_length(n.metadata) + octet_length(n.payload)
      from (
        select u.*, p_stream_types[u.stream_no] as aggregate_type, p_stream_ids[u.stream_no] as aggregate_id
        from unnest(
          p_event_appends[first_event:last_event], p_event_streams[first_event:last_event],
          p_event_places[first_event:last_event], p_event_ids[first_event:last_event],
          p_event_types[first_event:last_event], p_event_schema_versions[first_event:last_event],
          p_event_occurred_at[first_event:last_event], p_event_actors[first_event:last_event],
          p_event_correlation_ids[first_event:last_event], p_event_causation_ids[first_event:last_event],
          p_event_metadata[first_event:last_event], p_event_payloads[first_event:last_event]
        ) with ordinality as u (
          append_no, stream_no, stream_place, event_id, event_type, schema_version, occurred_at, actor,
          correlation_id, causation_id, metadata, payload, place
        )
        where not refused[u.append_no]
      ) n;

      for s in first_stream .. last_stream loop
        if not refused[p_stream_appends[s]] then
          item := item || s;
          outcome := outcome || 'appended'::text;
          version := version || actual[s - first_stream + 1]::double precision;
          "position" := "position" || head::double precision;
          recorded_at := recorded_at || now_;
        end if;
      end loop;
    end if;

    first_stream := last_stream + 1;
    first_event := last_event + 1;
  end loop;
end
$$;

comment on function eventsourcing.append is
  'Appends a batch of independent appends, each with its own outcome. Locks the rows of its tenants, in order.';

-- An append that is a transaction of its own, as opposed to one within a transaction of the application.
-- On a connection on which somebody left a transaction open, the ROLLBACK fails (SQLSTATE 2D000) before anything is
-- done: otherwise the append would be acknowledged now and lost later, with that transaction.
create or replace procedure eventsourcing.append_alone(
  in p_provision             boolean,
  in p_wait                  boolean,
  in p_appends               integer,
  in p_segment_tenants       uuid[],
  in p_segment_last_streams  integer[],
  in p_segment_last_events   integer[],
  in p_stream_appends        integer[],
  in p_stream_types          text[],
  in p_stream_ids            text[],
  in p_stream_expected       bigint[],
  in p_event_appends         integer[],
  in p_event_streams         integer[],
  in p_event_places          integer[],
  in p_event_ids             uuid[],
  in p_event_types           text[],
  in p_event_schema_versions integer[],
  in p_event_occurred_at     timestamptz[],
  in p_event_actors          text[],
  in p_event_correlation_ids text[],
  in p_event_causation_ids   text[],
  in p_event_metadata        text[],
  in p_event_payloads        text[],
  out item                   integer[],
  out outcome                text[],
  out version                double precision[],
  out "position"             double precision[],
  out recorded_at            timestamptz[]
)
language plpgsql
as $$
begin
  rollback;
  -- whatever the default is: with an older snapshot, what the previous holder of the lock committed would not be seen
  set transaction isolation level read committed;
  select a.item, a.outcome, a.version, a."position", a.recorded_at
  into item, outcome, version, "position", recorded_at
  from eventsourcing.append(
    p_provision, p_wait, p_appends, p_segment_tenants, p_segment_last_streams, p_segment_last_events, p_stream_appends,
    p_stream_types, p_stream_ids, p_stream_expected, p_event_appends, p_event_streams, p_event_places, p_event_ids,
    p_event_types, p_event_schema_versions, p_event_occurred_at, p_event_actors, p_event_correlation_ids,
    p_event_causation_ids, p_event_metadata, p_event_payloads
  ) a;
end
$$;

comment on procedure eventsourcing.append_alone is 'eventsourcing.append as a transaction of its own.';
revoke all on procedure eventsourcing.append_alone from public;
grant execute on procedure eventsourcing.append_alone to eventsourcing_tenant;
