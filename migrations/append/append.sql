create or replace function eventsourcing.append(
  in p_provision             boolean,
  in p_wait                  boolean,
  in p_tenants               text[],
  in p_round_last_segments   integer[],
  in p_segment_tenants       integer[],
  in p_segment_last_streams  integer[],
  in p_stream_appends        integer[],
  in p_stream_segments       integer[],
  in p_stream_types          text[],
  in p_stream_ids            text[],
  in p_stream_expected       integer[],
  in p_stream_last_events    integer[],
  in p_stream_previous       integer[],
  in p_stream_events_before  integer[],
  in p_event_streams         integer[],
  in p_event_ids             uuid[],
  in p_event_types           text[],
  in p_event_schema_versions integer[],
  in p_event_occurred_at     timestamptz[],
  in p_event_actors          text[],
  in p_event_correlation_ids text[],
  in p_event_causation_ids   text[],
  in p_event_metadata        text[],
  in p_event_payloads        text[],
  in p_event_tags            text[],
  in p_extras                jsonb,
  out results                double precision[],
  out commands               jsonb
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
-- also if the plan is made while there are few tenants or events: it is kept
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  v_tenant        uuid;
  v_status        text;
  v_chained       bigint;
  statuses        text[] := '{}';   -- of each tenant; NULL: not there, or held
  chains          bigint[] := '{}'; -- the first position with a hash, of each tenant
  tenant          integer;
  first_segment   integer;
  last_segment    integer := 0;
  first_stream    integer;
  last_stream     integer;
  streams_before  integer;          -- those of the rounds before
  last_of_round   integer := 0;
  -- of each stream of the round:
  actual          integer[];        -- its version
  bases           bigint[];         -- the position before its first event; NULL: not to be written
  times           timestamptz[];    -- when it is recorded
  fine            boolean[];        -- whether it is as expected
  hashes          bytea[];          -- of each event, if there is a chain
  previous_hash   bytea;
  looks           boolean;          -- whether to look for events that are known: only after having met one
  plain           boolean;          -- no event is known, and every stream as expected
  head            bigint;
  now_            timestamptz;
  now_ms          double precision;
  v_position      bigint;
  found_position  bigint;
  v_version       integer;
  before          integer;          -- number of the append before the segment
  refused         boolean[];        -- by place of the append in the segment
  extras          jsonb[];          -- what appends of the segment ask for
  extra           jsonb;
  place           integer;
  first_of_append integer;
  previous        integer;
  found_row       record;
  results_before  double precision[];
  commands_before jsonb;
begin
  results := '{}';
  if nullif(current_setting('eventsourcing.tenant_id', true), '') is not null then
    -- within a transaction that is bound: refuses another tenant
    for n in 1 .. cardinality(p_tenants) loop
      v_status := eventsourcing.bind_tenant(p_tenants[n]::uuid)::text;
    end loop;
  end if;

  if p_wait then
    for n in 1 .. cardinality(p_tenants) loop
      v_tenant := set_config('eventsourcing.tenant_id', p_tenants[n], true);
      select t.status, t.chained_from into v_status, v_chained
      from eventsourcing.tenants t where t.tenant_id = v_tenant for no key update;
      if v_status is null and p_provision then
        insert into eventsourcing.tenants (tenant_id) values (v_tenant) on conflict do nothing;
        select t.status, t.chained_from into v_status, v_chained
        from eventsourcing.tenants t where t.tenant_id = v_tenant for no key update;
      end if;
      statuses[n] := v_status;
      chains[n] := v_chained;
    end loop;
  else
    select array_agg(l.status order by l.n), array_agg(l.chained_from order by l.n) into statuses, chains
    from (
      select n.n, t.status, t.chained_from
      from generate_series(1, cardinality(p_tenants)) n (n)
      cross join lateral (
        select set_config('eventsourcing.tenant_id', p_tenants[n.n], true)::uuid as tenant_id offset 0
      ) b
      left join lateral (
        select t.status, t.chained_from from eventsourcing.tenants t
        where t.tenant_id = b.tenant_id for no key update skip locked
      ) t on true
    ) l;
  end if;

  for round in 1 .. cardinality(p_round_last_segments) loop
    first_segment := last_segment + 1;
    last_segment := p_round_last_segments[round];
    streams_before := last_of_round;
    last_of_round := p_segment_last_streams[last_segment];
    results_before := results;
    commands_before := commands;
    looks := false;
    loop
      begin
        now_ := date_trunc('milliseconds', clock_timestamp());
        select array_agg(v.version order by v.n), array_agg(v.head + v.events_before order by v.n),
          array_agg(greatest(now_, v.recorded_at) order by v.n),
          array_agg(
            case v.expected when -1 then true when -2 then v.version > 0 else v.version = v.expected end order by v.n)
        into actual, bases, times, fine
        from (
          select s.n, p_stream_expected[s.n] as expected, coalesce(h.position, 0) as head, h.recorded_at,
            coalesce(p_stream_last_events[s.n - 1], 0)
              - coalesce(p_stream_last_events[p_segment_last_streams[p_stream_segments[s.n] - 1]], 0) as events_before,
            coalesce((
              select e.version from eventsourcing.events e
              where e.tenant_id = b.tenant_id and e.aggregate_type = p_stream_types[s.n]
                and e.aggregate_id = p_stream_ids[s.n]
                and e.version >= greatest(p_stream_expected[s.n] - p_stream_events_before[s.n], 0)
              order by e.version desc limit 1), 0) + p_stream_events_before[s.n] as version
          from generate_series(streams_before + 1, last_of_round) s (n)
          cross join lateral (
            select set_config('eventsourcing.tenant_id', p_tenants[p_segment_tenants[p_stream_segments[s.n]]], true)::uuid
              as tenant_id offset 0
          ) b
          left join lateral (
            select e.position, e.recorded_at from eventsourcing.events e
            where e.tenant_id = b.tenant_id order by e.position desc limit 1
          ) h on true
          offset 0
        ) v;

        for segment in first_segment .. last_segment loop
          tenant := p_segment_tenants[segment];
          first_stream := coalesce(p_segment_last_streams[segment - 1], 0) + 1;
          last_stream := p_segment_last_streams[segment];

          v_status := statuses[tenant];
          if v_status is distinct from 'active' then
            -- without p_wait, one that is not there may be one that somebody else is just adding: adding it would wait
            results := results
              || case when v_status is not null then 3 when p_wait then 2 else 4 end::double precision;
            for s in first_stream .. last_stream loop
              bases[s - streams_before] := null;
            end loop;
            continue;
          end if;

          head := bases[first_stream - streams_before];
          now_ := times[first_stream - streams_before];
          now_ms := round(date_part('epoch', now_) * 1000);
          before := p_stream_appends[first_stream] - 1;
          extras := '{}';
          if p_extras is not null then
            extras := array(
              select x.value from jsonb_array_elements(p_extras) x
              where (x.value ->> 'append')::integer between before + 1 and p_stream_appends[last_stream]);
          end if;
          plain := not looks and cardinality(extras) = 0;
          for s in first_stream .. last_stream loop
            plain := plain and fine[s - streams_before];
          end loop;

          if plain then
            results := results || 1::double precision;
            results := results || head::double precision;
            results := results || now_ms;
            for s in first_stream .. last_stream loop
              results := results || actual[s - streams_before]::double precision;
            end loop;
          else
            v_tenant := set_config('eventsourcing.tenant_id', p_tenants[tenant], true);
            refused := array_fill(false, array[p_stream_appends[last_stream] - before]);
            results := results || 5::double precision;

            -- A command that was carried out before gets its first outcome again, whatever has become of the stream.
            foreach extra in array extras loop
              place := (extra ->> 'append')::integer - before;
              select c.fingerprint, c.aggregate_type, c.aggregate_id, c.version, c.position, c.events,
                round(date_part('epoch', c.recorded_at) * 1000) as recorded_at
              into found_row
              from eventsourcing.command_keys c
              where c.tenant_id = v_tenant and c.key = extra ->> 'key' and c.expires_at > clock_timestamp();
              if found then
                refused[place] := true;
                if found_row.fingerprint = extra ->> 'fingerprint' then
                  results := results || array[11, before + place]::double precision[];
                  commands := coalesce(commands, '[]') || to_jsonb(found_row);
                else
                  results := results || array[12, before + place]::double precision[];
                end if;
              end if;
            end loop;

            -- So does an append whose events the log has already. This comes before the version check.
            for found_row in
              select p_stream_appends[s.n] - before as place, i.n as event, e.version, e.position,
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
              where not refused[p_stream_appends[s.n] - before]
              order by i.n
            loop
              refused[found_row.place] := true;
              results := results || case when found_row.same_content
                then array[7, found_row.event, found_row.version, found_row.position, found_row.recorded_at]
                else array[8, found_row.event]
              end::double precision[];
            end loop;

            -- One append after the other: whether it is appended decides on the versions of those behind it.
            v_position := head;
            first_of_append := first_stream;
            for s in first_stream .. last_stream loop
              place := p_stream_appends[s] - before;
              previous := p_stream_previous[s];
              if previous > 0 then
                actual[s - streams_before] := actual[previous - streams_before]
                  + case when refused[p_stream_appends[previous] - before] then 0
                      else p_stream_last_events[previous] - coalesce(p_stream_last_events[previous - 1], 0) end;
              elsif not fine[s - streams_before] then
                -- only that it is not the expected one is known so far
                actual[s - streams_before] := coalesce((
                  select e.version from eventsourcing.events e
                  where e.tenant_id = v_tenant and e.aggregate_type = p_stream_types[s]
                    and e.aggregate_id = p_stream_ids[s]
                  order by e.version desc limit 1), 0);
              end if;
              v_version := actual[s - streams_before];
              if not refused[place] and not (case p_stream_expected[s]
                when -1 then true when -2 then v_version > 0 else v_version = p_stream_expected[s]
              end) then
                refused[place] := true;
                results := results || array[9, s, v_version]::double precision[];
              end if;
              continue when s < last_stream and p_stream_appends[s + 1] = p_stream_appends[s];

              foreach extra in array extras loop
                if (extra ->> 'append')::integer = before + place and extra ? 'query' and not refused[place] then
                  found_position := (eventsourcing.matching_positions(
                    v_tenant, extra -> 'query', (extra ->> 'after')::bigint + 1, head, null, null, false, 1))[1];
                  if found_position is not null then
                    refused[place] := true;
                    results := results || array[10, before + place, found_position]::double precision[];
                  end if;
                end if;
              end loop;

              for t in first_of_append .. s loop
                if refused[place] then
                  bases[t - streams_before] := null;
                else
                  bases[t - streams_before] := v_position;
                  results := results || array[6, t, actual[t - streams_before], v_position, now_ms]::double precision[];
                  v_position := v_position + p_stream_last_events[t] - coalesce(p_stream_last_events[t - 1], 0);
                end if;
              end loop;
              first_of_append := s + 1;
            end loop;
            results := results || 0::double precision;

            foreach extra in array extras loop
              place := (extra ->> 'append')::integer - before;
              if extra ? 'key' and not refused[place] then
                -- some that have expired go with every new one, so that they do not pile up
                delete from eventsourcing.command_keys c
                where c.tenant_id = v_tenant and c.key in (
                  select k.key from eventsourcing.command_keys k
                  where k.tenant_id = v_tenant and k.expires_at <= clock_timestamp()
                  order by k.expires_at limit 4);
                -- an append with a command has one stream
                insert into eventsourcing.command_keys (
                  tenant_id, key, fingerprint, aggregate_type, aggregate_id, version, position, events, recorded_at,
                  expires_at
                )
                select v_tenant, extra ->> 'key', extra ->> 'fingerprint', p_stream_types[s.n], p_stream_ids[s.n],
                  actual[s.n - streams_before] + b.events, bases[s.n - streams_before] + b.events, b.events, now_,
                  to_timestamp((extra ->> 'expires')::double precision / 1000)
                from generate_series(first_stream, last_stream) s (n)
                cross join lateral (
                  select p_stream_last_events[s.n] - coalesce(p_stream_last_events[s.n - 1], 0) as events
                ) b
                where p_stream_appends[s.n] = before + place
                on conflict (tenant_id, key) do update set
                  fingerprint = excluded.fingerprint, aggregate_type = excluded.aggregate_type,
                  aggregate_id = excluded.aggregate_id, version = excluded.version, position = excluded.position,
                  events = excluded.events, recorded_at = excluded.recorded_at, expires_at = excluded.expires_at;
              end if;
            end loop;
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
          occurred_at, recorded_at, actor, correlation_id, causation_id, metadata, payload, bytes, tags, hash
        )
        select b.tenant_id, s.position + i.n, p_stream_types[s.n], p_stream_ids[s.n], s.version + i.n,
          p_event_ids[i.n], p_event_types[i.n], p_event_schema_versions[i.n], p_event_occurred_at[i.n],
          times[s.n - streams_before], nullif(p_event_actors[i.n], ''), p_event_correlation_ids[i.n],
          nullif(p_event_causation_ids[i.n], ''), p_event_metadata[i.n]::json, p_event_payloads[i.n]::json,
          octet_length(p_event_metadata[i.n]) + octet_length(p_event_payloads[i.n]),
          nullif(p_event_tags[i.n], '')::text[], hashes[i.n]
        from generate_series(coalesce(p_stream_last_events[streams_before], 0) + 1, p_stream_last_events[last_of_round])
          i (n)
        cross join lateral (
          select s.n, bases[s.n - streams_before] - coalesce(p_stream_last_events[s.n - 1], 0) as position,
            actual[s.n - streams_before] - coalesce(p_stream_last_events[s.n - 1], 0) as version
          from (values (p_event_streams[i.n])) s (n)
        ) s
        cross join lateral (
          select set_config('eventsourcing.tenant_id', p_tenants[p_segment_tenants[p_stream_segments[s.n]]], true)::uuid
              as tenant_id offset 0
        ) b
        where s.position is not null;

        if cardinality(p_event_tags) > 0 then
          insert into eventsourcing.event_tags (tenant_id, tag, position, event_type)
          select b.tenant_id, t.tag,
            bases[p_event_streams[i.n] - streams_before] + i.n - coalesce(p_stream_last_events[p_event_streams[i.n] - 1], 0),
            p_event_types[i.n]
          from generate_series(
            coalesce(p_stream_last_events[streams_before], 0) + 1, p_stream_last_events[last_of_round]) i (n)
          cross join lateral (
            select set_config(
              'eventsourcing.tenant_id', p_tenants[p_segment_tenants[p_stream_segments[p_event_streams[i.n]]]], true)::uuid
              as tenant_id offset 0
          ) b
          cross join lateral unnest(nullif(p_event_tags[i.n], '')::text[]) t (tag)
          where bases[p_event_streams[i.n] - streams_before] is not null;
        end if;
        exit;
      exception when unique_violation then
        -- Of an event that is known, as the tenants are locked: again, with a look at what is known.
        if looks then
          raise;
        end if;
        looks := true;
        results := results_before;
        commands := commands_before;
      end;
    end loop;
  end loop;
end
$$;

comment on function eventsourcing.append is
  'Appends a batch of independent appends, each with its own outcome. Locks the rows of its tenants, in order.';
