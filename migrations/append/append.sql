-- Appends a batch of independent appends, each of which is written as a whole or refused with a reason.
--
-- A batch consists of rounds, and each round of segments, one per tenant, in the order of tenant ids, so that all writers
-- lock tenants in the same order. A segment consists of appends, an append of streams, and a stream of events. The arrays
-- refer to streams and events by their numbers in the whole batch, counted from 1.
--
-- Returns for each stream of the batch: in heads the position of its tenant's log before its events (NULL if the append was
-- refused), in versions its version before its events, and in times their recorded time. refusals (NULL if there are none)
-- has an object for each append that was not written: {"append": number, "kind": …}, see the kinds below.
create or replace function eventsourcing.append(
  in p_provision             boolean,
  in p_wait                  boolean,
  in p_tenants               text[],
  in p_round_last_segments   integer[],
  in p_segment_tenants       integer[],
  in p_segment_last_streams  integer[],
  in p_stream_appends        integer[],
  in p_stream_types          text[],
  in p_stream_ids            text[],
  in p_stream_expected       integer[],
  in p_stream_expected_ids   uuid[],    -- the event at the expected version; empty array: no stream expects one
  in p_stream_last_events    integer[],
  in p_stream_previous       integer[], -- number of the same stream earlier in the segment; 0: none
  in p_stream_events_before  integer[], -- number of events of the same stream earlier in the segment
  in p_event_streams         integer[],
  in p_event_ids             uuid[],
  in p_event_types           text[],
  in p_event_schema_versions integer[],
  in p_event_occurred_at     timestamptz[],
  in p_event_actors          text[],    -- empty array: no event has one
  in p_event_correlation_ids text[],
  in p_event_causation_ids   text[],    -- empty array: no event has one
  in p_event_traceparents    text[],    -- empty array: no event has one
  in p_event_metadata        text[],
  in p_event_payloads        text[],
  in p_event_tags            text[],    -- empty array: no event has any
  in p_append_forgotten      integer[], -- the writer's number of forgotten subjects; NULL: not compared; empty array: by no append
  in p_extras                jsonb,     -- command keys, conditions, versions, exemptions from the quota: [{"append": number, …}]
  out heads                  double precision[],
  out versions               integer[],
  out times                  timestamptz[],
  out refusals               jsonb
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
-- The plan is kept, even if it is made while there are few tenants or events: while there is one event, reading all of a tenant
-- and sorting them costs no more than the index in its order.
set enable_seqscan = off set enable_sort = off
as $$
#variable_conflict use_column
declare
  v_tenant        uuid;
  v_status        text;
  v_chained       bigint;
  v_quota         jsonb;
  statuses        text[] := '{}';   -- status of each tenant; NULL: not registered, or locked by another append
  chains          bigint[] := '{}'; -- first position with a hash, of each tenant
  quotas          jsonb[] := '{}';  -- quota of each tenant
  forgotten       integer[];        -- number of forgotten subjects of each tenant, if an append compares it
  known           integer[] := '{}'; -- for each stream of the only append, its version at an end of the log; NULL: not known
  known_after     bigint;           -- that end, and the id of the event there
  known_after_id  uuid;
  usual           boolean;          -- every tenant is active, has no hash chain and no quota, and no append has extras or forgotten subjects
  tenant          integer;
  first_segment   integer;
  last_segment    integer := 0;
  first_stream    integer;
  last_stream     integer;
  streams_before  integer;          -- number of streams of the previous rounds
  last_of_round   integer := 0;
  -- for each stream of the round:
  actual          integer[];        -- its version
  last_ids        uuid[];           -- the id of the event with that version
  bases           bigint[];         -- the position before its first event; NULL: it is not written
  head_ids        uuid[];           -- the id of the last event of its log
  recorded        timestamptz[];    -- the recorded time of its events
  fine            boolean[];        -- true if its version is the expected one
  hashes          bytea[];          -- hash of each event, if there is a chain
  previous_hash   bytea;
  looks           boolean;          -- true if stored events are looked for: only after a unique violation
  seeks           boolean;          -- true if events of the segment are looked for, because more than its keys could be refused
  plain           boolean;          -- true if every stream of the segment is fine, and there is nothing else to check
  head            bigint;
  now_            timestamptz;
  moment          timestamptz;
  v_position      bigint;
  found_position  bigint;
  found_id        uuid;
  v_version       integer;
  before          integer;          -- number of the last append before the segment
  refused         boolean[];        -- for each append of the segment
  extras          jsonb[];          -- extras of the appends of the segment
  extra           jsonb;
  conditions      jsonb[];          -- for each append of the segment, its conditions
  condition       jsonb;
  keyed           integer;          -- number of appends of the segment with a new command key, before versions are compared
  stream_of       integer[];        -- for each append of the segment, its last stream
  place           integer;
  first_of_append integer;
  previous        integer;
  events_there    integer;          -- number of events of the previous entry of the stream, or of an append
  found_row       record;
  refusal         jsonb[] := '{}';
  refusals_before jsonb[];
begin
  if nullif(current_setting('eventsourcing.tenant_id', true), '') is not null then
    -- a bound transaction refuses other tenants
    for n in 1 .. cardinality(p_tenants) loop
      v_status := eventsourcing.bind_tenant(p_tenants[n]::uuid)::text;
    end loop;
  end if;

  if p_wait then
    if current_setting('lock_timeout') = '0' then
      -- another transaction of the application may have locked the tenant, and then be idle for long
      v_status := set_config('lock_timeout', '10s', true);
    end if;
    for n in 1 .. cardinality(p_tenants) loop
      v_tenant := set_config('eventsourcing.tenant_id', p_tenants[n], true);
      select t.status, t.chained_from, t.quota into v_status, v_chained, v_quota
      from eventsourcing.tenants t where t.tenant_id = v_tenant for no key update;
      if v_status is null and p_provision then
        insert into eventsourcing.tenants (tenant_id) values (v_tenant) on conflict do nothing;
        select t.status, t.chained_from, t.quota into v_status, v_chained, v_quota
        from eventsourcing.tenants t where t.tenant_id = v_tenant for no key update;
      end if;
      statuses[n] := v_status;
      chains[n] := v_chained;
      quotas[n] := v_quota;
    end loop;
  else
    select array_agg(l.status order by l.n), array_agg(l.chained_from order by l.n), array_agg(l.quota order by l.n)
    into statuses, chains, quotas
    from (
      select n.n, t.status, t.chained_from, t.quota
      from generate_series(1, cardinality(p_tenants)) n (n)
      cross join lateral (
        select set_config('eventsourcing.tenant_id', p_tenants[n.n], true)::uuid as tenant_id offset 0
      ) b
      left join lateral (
        select t.status, t.chained_from, t.quota from eventsourcing.tenants t
        where t.tenant_id = b.tenant_id for no key update skip locked
      ) t on true
    ) l;
  end if;
  usual := p_extras is null and coalesce('active' = all (statuses), false)
    and num_nonnulls(variadic chains) = 0 and num_nonnulls(variadic quotas) = 0 and cardinality(p_append_forgotten) = 0;
  if cardinality(p_append_forgotten) > 0 then
    -- a statement of its own, because only such appends shall pay for it; the lock keeps the numbers as they are
    forgotten := array(
      select t.forgotten_subjects
      from generate_series(1, cardinality(p_tenants)) n (n)
      cross join lateral (
        select set_config('eventsourcing.tenant_id', p_tenants[n.n], true)::uuid as tenant_id offset 0
      ) b
      left join lateral (
        select t.forgotten_subjects from eventsourcing.tenants t where t.tenant_id = b.tenant_id
      ) t on true
      order by n.n);
  end if;

  -- Looking up the version of a stream takes a fifth of the time of an imported event. Versions that the caller knows are those
  -- at the end of the log which its condition names; if the log ends otherwise, they are looked up.
  if p_extras -> 0 ? 'versions' and p_stream_appends[cardinality(p_stream_appends)] = 1 then
    known := (p_extras -> 0 ->> 'versions')::integer[];
    known_after := (p_extras #>> '{0,conditions,0,after}')::bigint;
    known_after_id := (p_extras #>> '{0,conditions,0,afterId}')::uuid;
  end if;

  for round in 1 .. cardinality(p_round_last_segments) loop
    first_segment := last_segment + 1;
    last_segment := p_round_last_segments[round];
    streams_before := last_of_round;
    last_of_round := p_segment_last_streams[last_segment];
    refusals_before := refusal;
    looks := false;
    loop
      begin
        now_ := date_trunc('milliseconds', clock_timestamp());
        select array_agg(v.version order by v.n), array_agg(v.last_id order by v.n),
          array_agg(v.head + v.events_before order by v.n), array_agg(v.head_id order by v.n),
          array_agg(greatest(now_, v.recorded_at) order by v.n),
          array_agg(
            case v.expected when -1 then true when -2 then v.version > 0 else v.version = v.expected end
              and (v.expected_id is null or v.last_id = v.expected_id) is true
            order by v.n)
        into actual, last_ids, bases, head_ids, recorded, fine
        from (
          select s.n, p_stream_expected[s.n] as expected, p_stream_expected_ids[s.n] as expected_id,
            coalesce(g.position, 0) as head, g.event_id as head_id, g.recorded_at,
            coalesce(p_stream_last_events[s.n - 1], 0) - coalesce(p_stream_last_events[g.streams_before], 0)
              as events_before,
            coalesce(k.version, l.version, 0) + p_stream_events_before[s.n] as version,
            case
              when p_stream_events_before[s.n] = 0 then l.event_id
              -- of the same stream earlier in the segment; without events there, the id is compared below
              when p_stream_last_events[p_stream_previous[s.n]] > coalesce(p_stream_last_events[p_stream_previous[s.n] - 1], 0)
                then p_event_ids[p_stream_last_events[p_stream_previous[s.n]]]
            end as last_id
          from (
            -- Binding a tenant and finding the head of its log cost as much as finding a stream: once for a segment.
            select coalesce(p_segment_last_streams[g.n - 1], 0) as streams_before, p_segment_last_streams[g.n] as last_stream,
              b.tenant_id, h.position, h.event_id, h.recorded_at,
              not looks and h.position = known_after and h.event_id = known_after_id as is_known
            from generate_series(first_segment, last_segment) g (n)
            cross join lateral (
              select set_config('eventsourcing.tenant_id', p_tenants[p_segment_tenants[g.n]], true)::uuid
                as tenant_id offset 0
            ) b
            left join lateral (
              select e.position, e.event_id, e.recorded_at from eventsourcing.events e
              where e.tenant_id = b.tenant_id order by e.position desc limit 1
            ) h on true
            offset 0
          ) g
          cross join lateral generate_series(g.streams_before + 1, g.last_stream) s (n)
          cross join lateral (
            select case when g.is_known and p_stream_expected_ids[s.n] is null then known[s.n] end as version
          ) k
          left join lateral (
            select e.version, e.event_id from eventsourcing.events e
            where k.version is null
              and e.tenant_id = g.tenant_id and e.aggregate_type = p_stream_types[s.n]
              and e.aggregate_id = p_stream_ids[s.n]
              and e.version >= greatest(p_stream_expected[s.n] - p_stream_events_before[s.n], 0)
            order by e.version desc limit 1
          ) l on true
          offset 0
        ) v;

        for segment in first_segment .. case when usual and not looks and true = all (fine) then 0 else last_segment end
        loop
          tenant := p_segment_tenants[segment];
          first_stream := coalesce(p_segment_last_streams[segment - 1], 0) + 1;
          last_stream := p_segment_last_streams[segment];

          v_status := statuses[tenant];
          if v_status is distinct from 'active' then
            if v_status is not null then
              v_status := case v_status when 'elsewhere' then 'unknownTenant' else v_status end;
            elsif p_wait then
              v_status := 'unknownTenant';
            else
              -- adding the tenant could wait for another transaction that is just adding it
              v_tenant := set_config('eventsourcing.tenant_id', p_tenants[tenant], true);
              v_status := case when exists (select from eventsourcing.tenants t where t.tenant_id = v_tenant)
                then 'held' else 'absent' end;
            end if;
            for append in p_stream_appends[first_stream] .. p_stream_appends[last_stream] loop
              refusal := refusal || jsonb_build_object('append', append, 'kind', v_status);
            end loop;
            for s in first_stream .. last_stream loop
              bases[s - streams_before] := null;
            end loop;
            continue;
          end if;

          head := bases[first_stream - streams_before];
          now_ := recorded[first_stream - streams_before];
          before := p_stream_appends[first_stream] - 1;
          extras := '{}';
          if p_extras is not null then
            extras := array(
              select x.value from jsonb_array_elements(p_extras) x
              where (x.value ->> 'append')::integer between before + 1 and p_stream_appends[last_stream]
                and x.value ?| array['key', 'conditions']);
          end if;
          -- The conditions of the first append hold if they were decided at the end of the log, because nothing is behind it.
          if not coalesce(extras[1] ? 'key' or (extras[1] ->> 'append')::integer > before + 1, true) and not exists (
            select from jsonb_array_elements(extras[1] -> 'conditions') c (condition)
            where ((c.condition ->> 'after')::bigint = head and (
              not c.condition ? 'afterId' or (c.condition ->> 'afterId')::uuid = head_ids[first_stream - streams_before]
            )) is not true
          ) then
            extras := extras[2:];
          end if;
          seeks := looks or quotas[tenant] is not null
            or (forgotten[tenant] <> any (p_append_forgotten[before + 1 : p_stream_appends[last_stream]])) is true
            or (true = all (fine[first_stream - streams_before : last_stream - streams_before])) is not true;
          plain := not seeks and cardinality(extras) = 0;

          if not plain then
            v_tenant := set_config('eventsourcing.tenant_id', p_tenants[tenant], true);
            refused := array_fill(false, array[p_stream_appends[last_stream] - before]);

            -- A command that was carried out before gets its first outcome again, even if the stream has changed since.
            conditions := '{}';
            keyed := 0;
            foreach extra in array extras loop
              conditions[(extra ->> 'append')::integer - before] := extra -> 'conditions';
              keyed := keyed + (extra ? 'key')::integer;
            end loop;
            if keyed > 0 then
              for found_row in
                select (x.extra ->> 'append')::integer as append, c.fingerprint = x.extra ->> 'fingerprint' as same_content,
                  jsonb_build_object('fingerprint', c.fingerprint, 'aggregate_type', c.aggregate_type,
                    'aggregate_id', c.aggregate_id, 'version', c.version, 'position', c.position, 'events', c.events,
                    'recorded_at', round(date_part('epoch', c.recorded_at) * 1000)) as command
                from unnest(extras) x (extra)
                cross join lateral (
                  select k.fingerprint, k.aggregate_type, k.aggregate_id, k.version, k.position, k.events, k.recorded_at
                  from eventsourcing.command_keys k
                  -- in the order of the primary key: while there is one key, the index of times costs no more
                  where k.tenant_id = v_tenant and k.key between x.extra ->> 'key' and x.extra ->> 'key'
                    and k.expires_at > clock_timestamp()
                  order by k.key limit 1
                ) c
                order by 1
              loop
                keyed := keyed - 1;
                refused[found_row.append - before] := true;
                refusal := refusal || case when found_row.same_content
                  then jsonb_build_object('append', found_row.append, 'kind', 'commandBefore', 'command', found_row.command)
                  else jsonb_build_object('append', found_row.append, 'kind', 'commandConflict') end;
              end loop;
            end if;

            -- So does an append whose events are stored already. This is checked before the expected version. If nothing but that
            -- could refuse an append, the unique violation tells it, and takes no time otherwise.
            seeks := seeks or true = any (refused) or num_nonnulls(variadic conditions) > 0;
            for found_row in
              select k.append, count(*) as stored,
                (array_agg(k.event_id order by not k.same_content desc, k.event))[1] as first_id,
                bool_and(k.same_content) as same_content,
                jsonb_agg(k.position order by k.event) as positions, jsonb_agg(k.version order by k.event) as versions,
                jsonb_agg(k.recorded_at order by k.event) as times
              from (
                select p_stream_appends[s.n] as append, i.n as event, e.event_id, e.version, e.position,
                  round(date_part('epoch', e.recorded_at) * 1000) as recorded_at,
                  e.aggregate_type = p_stream_types[s.n] and e.aggregate_id = p_stream_ids[s.n]
                    and e.event_type = p_event_types[i.n] and e.schema_version = p_event_schema_versions[i.n]
                    and e.tags is not distinct from nullif(p_event_tags[i.n], '')::text[]
                    and e.payload::jsonb = p_event_payloads[i.n]::jsonb
                    and e.metadata::jsonb = p_event_metadata[i.n]::jsonb as same_content
                from generate_series(first_stream, last_stream) s (n)
                cross join lateral generate_series(
                  coalesce(p_stream_last_events[s.n - 1], 0) + 1, p_stream_last_events[s.n]) i (n)
                cross join lateral (
                  select k.* from eventsourcing.events k
                  where k.tenant_id = v_tenant and k.event_id between p_event_ids[i.n] and p_event_ids[i.n]
                  order by k.event_id limit 1
                ) e
                where seeks and not refused[p_stream_appends[s.n] - before]
              ) k
              group by k.append
            loop
              refused[found_row.append - before] := true;
              refusal := refusal || case
                when found_row.same_content and found_row.stored = (
                  select sum(p_stream_last_events[s.n] - coalesce(p_stream_last_events[s.n - 1], 0))
                  from generate_series(first_stream, last_stream) s (n) where p_stream_appends[s.n] = found_row.append)
                then jsonb_build_object('append', found_row.append, 'kind', 'replayed', 'positions', found_row.positions,
                  'versions', found_row.versions, 'times', found_row.times)
                -- also if only some of its events are stored, because then another append stored them
                else jsonb_build_object('append', found_row.append, 'kind', 'eventIdConflict',
                  'eventId', found_row.first_id) end;
            end loop;

            -- Events that were decided on a forgotten subject, or sealed for one, are not written. Stored ones were replayed above.
            for append in before + 1 .. case when forgotten is null then before else p_stream_appends[last_stream] end loop
              if forgotten[tenant] <> p_append_forgotten[append] and not refused[append - before] then
                refused[append - before] := true;
                refusal := refusal || jsonb_build_object('append', append, 'kind', 'subjectsForgotten',
                  'forgotten', forgotten[tenant]);
              end if;
            end loop;

            -- One append after the other, because a refused append changes the versions of the later ones.
            v_position := head;
            first_of_append := first_stream;
            for s in first_stream .. last_stream loop
              place := p_stream_appends[s] - before;
              -- the last entry of this stream that is written
              previous := p_stream_previous[s];
              while previous > 0 and refused[p_stream_appends[previous] - before] loop
                previous := p_stream_previous[previous];
              end loop;
              if previous > 0 then
                events_there := p_stream_last_events[previous] - coalesce(p_stream_last_events[previous - 1], 0);
                actual[s - streams_before] := actual[previous - streams_before] + events_there;
                last_ids[s - streams_before] := case when events_there > 0
                  then p_event_ids[p_stream_last_events[previous]] else last_ids[previous - streams_before] end;
              elsif p_stream_previous[s] > 0 or not fine[s - streams_before] then
                -- so far the version is unknown, or includes events that are not written
                select e.version, e.event_id into v_version, found_id from eventsourcing.events e
                where e.tenant_id = v_tenant and e.aggregate_type = p_stream_types[s] and e.aggregate_id = p_stream_ids[s]
                order by e.version desc limit 1;
                actual[s - streams_before] := coalesce(v_version, 0);
                last_ids[s - streams_before] := found_id;
              end if;
              v_version := actual[s - streams_before];
              found_id := p_stream_expected_ids[s];
              if not refused[place] and not (case p_stream_expected[s]
                when -1 then true when -2 then v_version > 0 else v_version = p_stream_expected[s]
              end and (found_id is null or last_ids[s - streams_before] = found_id) is true) then
                refused[place] := true;
                refusal := refusal || jsonb_build_object('append', before + place, 'kind', 'versionConflict',
                  'stream', s, 'actual', v_version, 'eventId', last_ids[s - streams_before]);
              end if;
              continue when s < last_stream and p_stream_appends[s + 1] = p_stream_appends[s];

              stream_of[place] := s;
              if conditions[place] is not null then
                for n in 0 .. jsonb_array_length(conditions[place]) - 1 loop
                  exit when refused[place];
                  condition := conditions[place] -> n;
                  if condition ? 'afterId' then
                    found_id := (
                      select e.event_id from eventsourcing.events e
                      where e.tenant_id = v_tenant and e.position = (condition ->> 'after')::bigint);
                    if found_id is distinct from (condition ->> 'afterId')::uuid then
                      refused[place] := true;
                      refusal := refusal || jsonb_build_object('append', before + place, 'kind', 'positionDiverged',
                        'condition', n, 'eventId', found_id);
                      exit;
                    end if;
                  end if;
                  found_position := (eventsourcing.matching_positions(
                    v_tenant, condition -> 'query', (condition ->> 'after')::bigint + 1, head, null, null, false, 1))[1];
                  if found_position is not null then
                    refused[place] := true;
                    refusal := refusal || jsonb_build_object('append', before + place, 'kind', 'conditionFailed',
                      'condition', n, 'position', found_position, 'item', (
                        select i.n - 1 from jsonb_array_elements(condition -> 'query') with ordinality i (item, n)
                        where cardinality(eventsourcing.matching_positions(v_tenant, jsonb_build_array(i.item),
                          found_position, found_position, null, null, false, 1)) > 0
                        order by i.n limit 1));
                  end if;
                end loop;
              end if;

              -- A quota counts imported events too, but refuses none of them.
              events_there := p_stream_last_events[s] - coalesce(p_stream_last_events[first_of_append - 1], 0);
              if quotas[tenant] is not null and events_there > 0 and not refused[place]
                and (p_extras @> jsonb_build_array(jsonb_build_object('append', before + place, 'exempt', true))) is not true
              then
                extra := eventsourcing.quota_refusal(v_tenant, quotas[tenant], v_position, events_there, (
                  select max(octet_length(p_event_metadata[i.n]) + octet_length(p_event_payloads[i.n]))
                  from generate_series(p_stream_last_events[s] - events_there + 1, p_stream_last_events[s]) i (n)), now_);
                if extra is not null then
                  refused[place] := true;
                  refusal := refusal || (extra || jsonb_build_object('append', before + place));
                end if;
              end if;

              for t in first_of_append .. s loop
                if refused[place] then
                  bases[t - streams_before] := null;
                else
                  bases[t - streams_before] := v_position;
                  v_position := v_position + p_stream_last_events[t] - coalesce(p_stream_last_events[t - 1], 0);
                end if;
              end loop;
              first_of_append := s + 1;
            end loop;

            if keyed > 0 then
              -- Every new key removes some expired ones, so that they do not accumulate. A loop, as a join may read all keys of
              -- the tenant; so does a search for the time of a volatile function, for which no index is used.
              moment := clock_timestamp();
              for found_row in
                select k.key, k.expires_at from eventsourcing.command_keys k
                where k.tenant_id = v_tenant and k.expires_at <= moment
                order by k.expires_at limit 4 * keyed
              loop
                delete from eventsourcing.command_keys c
                where c.tenant_id = v_tenant and c.expires_at = found_row.expires_at and c.key = found_row.key;
              end loop;
              -- an append with a command has one stream
              insert into eventsourcing.command_keys (
                tenant_id, key, fingerprint, aggregate_type, aggregate_id, version, position, events, recorded_at,
                expires_at
              )
              select v_tenant, x.extra ->> 'key', x.extra ->> 'fingerprint', p_stream_types[s.n], p_stream_ids[s.n],
                actual[s.n - streams_before] + b.events, bases[s.n - streams_before] + b.events, b.events, now_,
                clock_timestamp() + make_interval(secs => (x.extra ->> 'expiresIn')::double precision / 1000)
              from unnest(extras) x (extra)
              cross join lateral (select stream_of[(x.extra ->> 'append')::integer - before] as n) s
              cross join lateral (
                select p_stream_last_events[s.n] - coalesce(p_stream_last_events[s.n - 1], 0) as events
              ) b
              where x.extra ? 'key' and not refused[(x.extra ->> 'append')::integer - before]
              on conflict (tenant_id, key) do update set
                fingerprint = excluded.fingerprint, aggregate_type = excluded.aggregate_type,
                aggregate_id = excluded.aggregate_id, version = excluded.version, position = excluded.position,
                events = excluded.events, recorded_at = excluded.recorded_at, expires_at = excluded.expires_at;
            end if;
          end if;

          if chains[tenant] is not null then
            v_tenant := set_config('eventsourcing.tenant_id', p_tenants[tenant], true);
            previous_hash := coalesce(
              (select e.hash from eventsourcing.events e where e.tenant_id = v_tenant and e.position = head),
              decode(repeat('00', 32), 'hex'));
            for s in first_stream .. last_stream loop
              v_position := bases[s - streams_before];
              v_version := actual[s - streams_before];
              continue when v_position is null;
              for i in coalesce(p_stream_last_events[s - 1], 0) + 1 .. p_stream_last_events[s] loop
                v_position := v_position + 1;
                v_version := v_version + 1;
                previous_hash := eventsourcing.event_hash(
                  previous_hash, v_tenant, v_position, p_stream_types[s], p_stream_ids[s], v_version,
                  p_event_ids[i], p_event_types[i], p_event_schema_versions[i], p_event_occurred_at[i], now_,
                  nullif(p_event_actors[i], ''), p_event_correlation_ids[i], nullif(p_event_causation_ids[i], ''),
                  p_event_metadata[i], p_event_payloads[i], nullif(p_event_tags[i], '')::text[]);
                hashes[i] := previous_hash;
              end loop;
            end loop;
          end if;
        end loop;

        insert into eventsourcing.events (
          tenant_id, position, aggregate_type, aggregate_id, version, event_id, event_type, schema_version,
          occurred_at, recorded_at, actor, correlation_id, causation_id, metadata, payload, bytes, tags, hash, traceparent
        )
        select b.tenant_id, s.position + i.n, p_stream_types[s.n], p_stream_ids[s.n], s.version + i.n,
          p_event_ids[i.n], p_event_types[i.n], p_event_schema_versions[i.n], p_event_occurred_at[i.n],
          recorded[s.n - streams_before], nullif(p_event_actors[i.n], ''), p_event_correlation_ids[i.n],
          nullif(p_event_causation_ids[i.n], ''), p_event_metadata[i.n]::json, p_event_payloads[i.n]::json,
          octet_length(p_event_metadata[i.n]) + octet_length(p_event_payloads[i.n]),
          nullif(p_event_tags[i.n], '')::text[], hashes[i.n], nullif(p_event_traceparents[i.n], '')
        from generate_series(first_segment, last_segment) g (n)
        cross join lateral (
          select set_config('eventsourcing.tenant_id', p_tenants[p_segment_tenants[g.n]], true)::uuid as tenant_id
            offset 0
        ) b
        cross join lateral generate_series(
          coalesce(p_stream_last_events[p_segment_last_streams[g.n - 1]], 0) + 1,
          p_stream_last_events[p_segment_last_streams[g.n]]) i (n)
        cross join lateral (
          select s.n, bases[s.n - streams_before] - coalesce(p_stream_last_events[s.n - 1], 0) as position,
            actual[s.n - streams_before] - coalesce(p_stream_last_events[s.n - 1], 0) as version
          from (values (p_event_streams[i.n])) s (n)
        ) s
        where s.position is not null;

        if cardinality(p_event_tags) > 0 then
          insert into eventsourcing.event_tags (tenant_id, tag, position, event_type)
          select b.tenant_id, t.tag,
            bases[p_event_streams[i.n] - streams_before] + i.n - coalesce(p_stream_last_events[p_event_streams[i.n] - 1], 0),
            p_event_types[i.n]
          from generate_series(first_segment, last_segment) g (n)
          cross join lateral (
            select set_config('eventsourcing.tenant_id', p_tenants[p_segment_tenants[g.n]], true)::uuid as tenant_id
              offset 0
          ) b
          cross join lateral generate_series(
            coalesce(p_stream_last_events[p_segment_last_streams[g.n - 1]], 0) + 1,
            p_stream_last_events[p_segment_last_streams[g.n]]) i (n)
          cross join lateral unnest(nullif(p_event_tags[i.n], '')::text[]) t (tag)
          where bases[p_event_streams[i.n] - streams_before] is not null;
        end if;
        for s in streams_before + 1 .. last_of_round loop
          v_position := bases[s - streams_before] + p_stream_last_events[s] - coalesce(p_stream_last_events[s - 1], 0);
          if v_position / 1024 > bases[s - streams_before] / 1024 then
            v_tenant := set_config('eventsourcing.tenant_id', (
              select p_tenants[p_segment_tenants[g.n]] from generate_series(first_segment, last_segment) g (n)
              where p_segment_last_streams[g.n] >= s order by g.n limit 1), true);
            perform eventsourcing.summarise_blocks(v_tenant, bases[s - streams_before] + 1, v_position);
          end if;
        end loop;
        exit;
      exception when unique_violation then
        -- An event is stored already, as the tenants are locked. The round starts again and looks for stored events.
        if looks then
          raise;
        end if;
        looks := true;
        refusal := refusals_before;
      end;
    end loop;
    heads := heads || bases::double precision[];
    versions := versions || actual;
    times := times || recorded;
  end loop;
  if cardinality(refusal) > 0 then
    refusals := to_jsonb(refusal);
  end if;
end
$$;

comment on function eventsourcing.append is
  'Appends a batch of independent appends, each with its own outcome. Locks the rows of its tenants, in order.';
