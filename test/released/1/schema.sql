--
-- PostgreSQL database dump
--

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: eventsourcing; Type: SCHEMA; Schema: -; Owner: postgres
--

CREATE SCHEMA eventsourcing;

ALTER SCHEMA eventsourcing OWNER TO postgres;

--
-- Name: SCHEMA eventsourcing; Type: COMMENT; Schema: -; Owner: postgres
--

COMMENT ON SCHEMA eventsourcing IS 'Event store of effect-eventsourcing: one ordered, gapless log per tenant.';

--
-- Name: eventsourcing_rebuild; Type: SCHEMA; Schema: -; Owner: postgres
--

CREATE SCHEMA eventsourcing_rebuild;

ALTER SCHEMA eventsourcing_rebuild OWNER TO postgres;

--
-- Name: SCHEMA eventsourcing_rebuild; Type: COMMENT; Schema: -; Owner: postgres
--

COMMENT ON SCHEMA eventsourcing_rebuild IS 'Twins of the read models, filled during a rebuild.';

--
-- Name: event_chunk; Type: TYPE; Schema: eventsourcing; Owner: postgres
--

CREATE TYPE eventsourcing.event_chunk AS (
	request integer,
	events integer,
	complete boolean,
	positions double precision[],
	aggregate_types text,
	aggregate_ids text,
	versions integer[],
	event_ids text,
	raw_event_ids bytea,
	event_types text,
	schema_versions integer[],
	occurred_at bytea,
	recorded_at bytea,
	correlation_ids text,
	payloads text,
	actors text[],
	actors_at double precision[],
	causation_ids text[],
	causation_ids_at double precision[],
	metadata text[],
	metadata_at double precision[],
	tags text[],
	tags_at double precision[],
	hashes text[],
	hashes_at double precision[],
	traceparents text[],
	traceparents_at double precision[]
);

ALTER TYPE eventsourcing.event_chunk OWNER TO postgres;

--
-- Name: TYPE event_chunk; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON TYPE eventsourcing.event_chunk IS 'Events in columns, in ascending order. Texts are joined by U+001F, which no JSON text contains; event ids are joined without a separator. Raw event ids and times are in the binary format of PostgreSQL, 16 and 8 bytes each. Columns that are rarely filled contain only the values that are not NULL (for metadata: not {}), with the positions of their events. request is the number of the stream in load_streams. complete is true if the range has no events after the chunk.';

--
-- Name: add_dead_letter(uuid, text, integer, boolean, bigint, uuid, text, integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.add_dead_letter(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_position bigint, p_event uuid, p_error text, p_attempts integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  insert into eventsourcing.dead_letters
    (tenant_id, projection, version, rebuild, position, event_id, error, attempts, failed_at)
  values (p_tenant, p_projection, p_version, p_rebuild, p_position, p_event, p_error, p_attempts, clock_timestamp())
  on conflict (tenant_id, projection, version, rebuild, position)
    do nothing;
end
$$;

ALTER FUNCTION eventsourcing.add_dead_letter(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_position bigint, p_event uuid, p_error text, p_attempts integer) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION add_dead_letter(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_position bigint, p_event uuid, p_error text, p_attempts integer); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.add_dead_letter(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_position bigint, p_event uuid, p_error text, p_attempts integer) IS 'Stores an event that a projection gave up on as a dead letter.';

--
-- Name: add_placement(text); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.add_placement(p_placement text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  insert into eventsourcing.placements (placement) values (p_placement) on conflict do nothing;
end
$$;

ALTER FUNCTION eventsourcing.add_placement(p_placement text) OWNER TO postgres;

--
-- Name: FUNCTION add_placement(p_placement text); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.add_placement(p_placement text) IS 'Adds a database to the directory, so that tenants can be placed in it.';

--
-- Name: administer(uuid, uuid); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

CREATE FUNCTION eventsourcing.administer(p_access uuid, p_tenant uuid) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  perform eventsourcing.bind_tenant(p_tenant);
  perform set_config('eventsourcing.administered', p_access::text, true);
  if current_setting('lock_timeout') = '0' then
    perform set_config('lock_timeout', '10s', true);
  end if;
end
$$;

ALTER FUNCTION eventsourcing.administer(p_access uuid, p_tenant uuid) OWNER TO eventsourcing_administrator_owner;

--
-- Name: FUNCTION administer(p_access uuid, p_tenant uuid); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

COMMENT ON FUNCTION eventsourcing.administer(p_access uuid, p_tenant uuid) IS 'Requires a recorded access, and binds a tenant for its administration.';

--
-- Name: administered_tables(uuid, uuid); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

CREATE FUNCTION eventsourcing.administered_tables(p_access uuid, p_tenant uuid) RETURNS TABLE(name text, handling text, reason text, has_rows boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $_$
begin
  perform eventsourcing.administer(p_access, p_tenant);
  for name, handling, reason in select t.name, t.handling, t.reason from eventsourcing.tables_of_tenants() t loop
    begin
      execute format('select exists (select from %s t where t.tenant_id = $1)', name) into has_rows using p_tenant;
    exception when insufficient_privilege then
      has_rows := true; -- nobody may look into a table without rights, so it counts as one with rows
    end;
    return next;
  end loop;
end
$_$;

ALTER FUNCTION eventsourcing.administered_tables(p_access uuid, p_tenant uuid) OWNER TO eventsourcing_administrator_owner;

--
-- Name: FUNCTION administered_tables(p_access uuid, p_tenant uuid); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

COMMENT ON FUNCTION eventsourcing.administered_tables(p_access uuid, p_tenant uuid) IS 'The tables of the application with rows of tenants, for the administration of one.';

--
-- Name: administered_tenant(uuid, uuid); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

CREATE FUNCTION eventsourcing.administered_tenant(p_access uuid, p_tenant uuid) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
begin
  perform eventsourcing.administer(p_access, p_tenant);
  return (
    select jsonb_build_object(
      'status', t.status, 'undertaking', t.undertaking, 'hold', t.hold, 'chainedFrom', t.chained_from,
      'origin', t.origin, 'quota', t.quota, 'forgotten', t.forgotten_subjects,
      'createdAt', (extract(epoch from t.created_at) * 1000)::bigint,
      'now', (extract(epoch from clock_timestamp()) * 1000)::bigint,
      'position', coalesce(e.position, 0), 'lastEventId', e.event_id, 'lastHash', encode(e.hash, 'hex'))
    from eventsourcing.tenants t
    left join lateral (
      select x.position, x.event_id, x.hash from eventsourcing.events x
      where x.tenant_id = t.tenant_id order by x.position desc limit 1
    ) e on true
    where t.tenant_id = p_tenant);
end
$$;

ALTER FUNCTION eventsourcing.administered_tenant(p_access uuid, p_tenant uuid) OWNER TO eventsourcing_administrator_owner;

--
-- Name: FUNCTION administered_tenant(p_access uuid, p_tenant uuid); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

COMMENT ON FUNCTION eventsourcing.administered_tenant(p_access uuid, p_tenant uuid) IS 'A tenant with its state and the end of its log, for its administration.';

--
-- Name: admit_tenant(uuid); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.admit_tenant(p_tenant uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
declare
  before    constant text := current_setting('role');
  dedicated boolean;
begin
  lock table eventsourcing.placements in share row exclusive mode; -- as in name_database
  dedicated := exists (select from eventsourcing.placements p where p.here and p.dedicated);
  if dedicated then
    grant insert (tenant_id) on eventsourcing.tenants to eventsourcing_tenant;
  end if;
  perform eventsourcing.provision_tenant(p_tenant);
  if dedicated then
    revoke insert (tenant_id) on eventsourcing.tenants from eventsourcing_tenant;
  end if;
  -- as in exclude_tenant
  perform set_config('role', 'eventsourcing_all_tenants_owner', true);
  update eventsourcing.tenants t set status = 'active' where t.tenant_id = p_tenant and t.status = 'elsewhere';
  perform set_config('role', before, true);
end
$$;

ALTER FUNCTION eventsourcing.admit_tenant(p_tenant uuid) OWNER TO postgres;

--
-- Name: FUNCTION admit_tenant(p_tenant uuid); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.admit_tenant(p_tenant uuid) IS 'Registers a tenant in a dedicated database, as its owner.';

--
-- Name: advance_projection(uuid, text, integer, boolean, bigint); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.advance_projection(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_position bigint) RETURNS double precision
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
declare
  log_head bigint;
begin
  perform eventsourcing.bind_tenant(p_tenant);
  log_head := coalesce(
    (select e.position from eventsourcing.events e where e.tenant_id = p_tenant order by e.position desc limit 1), 0);
  update eventsourcing.projections p
  set position = p_position, head = greatest(p_position, log_head), served_at = clock_timestamp(), parked = false,
    attempts = case when p.failed_position > p_position then p.attempts else 0 end,
    error = case when p.failed_position > p_position then p.error end,
    failure_kind = case when p.failed_position > p_position then p.failure_kind end,
    waited_ms = case when p.failed_position > p_position then p.waited_ms else 0 end,
    retry_at = case when p.failed_position > p_position then p.retry_at end,
    failed_position = case when p.failed_position > p_position then p.failed_position end
  where p.tenant_id = p_tenant and p.projection = p_projection and p.version = p_version and p.rebuild = p_rebuild;
  return log_head;
end
$$;

ALTER FUNCTION eventsourcing.advance_projection(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_position bigint) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION advance_projection(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_position bigint); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.advance_projection(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_position bigint) IS 'Moves the checkpoint of a projection; returns the head of the log.';

--
-- Name: announce(uuid[]); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

CREATE FUNCTION eventsourcing.announce(p_tenants uuid[]) RETURNS uuid[]
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
  bound constant text := nullif(current_setting('eventsourcing.tenant_id', true), '');
  held  uuid[];
begin
  -- a transaction of one tenant must not learn which rows of others are held
  if bound is not null and p_tenants is distinct from array[bound::uuid] then
    raise exception 'the transaction is bound to another tenant' using errcode = 'ES001';
  end if;
  if p_tenants is null then
    perform eventsourcing.clear_retired_projections();
  end if;
  insert into eventsourcing.projections (tenant_id, projection, version, rebuild)
  select t.tenant_id, v.projection, v.version, false
  from eventsourcing.tenants t cross join eventsourcing.projection_versions v
  where (p_tenants is null or t.tenant_id = any (p_tenants)) and v.retired_at is null and not v.inline
  order by 1, 2, 3
  on conflict do nothing;

  update eventsourcing.projections p set head = grown.head
  from (
    select q.tenant_id, q.projection, q.version, q.rebuild, h.head
    from eventsourcing.projections q
    cross join lateral (
      select e.position as head from eventsourcing.events e where e.tenant_id = q.tenant_id
      order by e.position desc limit 1
    ) h
    where (p_tenants is null or q.tenant_id = any (p_tenants)) and q.head < h.head
    for update of q skip locked
  ) grown
  where p.tenant_id = grown.tenant_id and p.projection = grown.projection and p.version = grown.version
    and p.rebuild = grown.rebuild;

  if p_tenants is not null then
    select array_agg(distinct q.tenant_id) into held
    from eventsourcing.projections q
    cross join lateral (
      select e.position as head from eventsourcing.events e where e.tenant_id = q.tenant_id
      order by e.position desc limit 1
    ) h
    where q.tenant_id = any (p_tenants) and q.head < h.head;
  end if;

  -- without a payload, so that listeners learn nothing about tenants
  perform pg_notify('eventsourcing', '');
  return coalesce(held, '{}');
end
$$;

ALTER FUNCTION eventsourcing.announce(p_tenants uuid[]) OWNER TO eventsourcing_runner_owner;

--
-- Name: FUNCTION announce(p_tenants uuid[]); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

COMMENT ON FUNCTION eventsourcing.announce(p_tenants uuid[]) IS 'Announces new events of tenants. A lost announcement only delays projections.';

--
-- Name: announce_committing(uuid[]); Type: PROCEDURE; Schema: eventsourcing; Owner: postgres
--

CREATE PROCEDURE eventsourcing.announce_committing(IN p_tenants uuid[], OUT held text[])
    LANGUAGE plpgsql
    AS $$
declare
  setting pg_catalog.text;
begin
  rollback;
  setting := pg_catalog.set_config('synchronous_commit', 'off', true);
  held := eventsourcing.announce(p_tenants)::pg_catalog.text[];
end
$$;

ALTER PROCEDURE eventsourcing.announce_committing(IN p_tenants uuid[], OUT held text[]) OWNER TO postgres;

--
-- Name: PROCEDURE announce_committing(IN p_tenants uuid[], OUT held text[]); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON PROCEDURE eventsourcing.announce_committing(IN p_tenants uuid[], OUT held text[]) IS 'eventsourcing.announce as a transaction of its own.';

--
-- Name: append(boolean, boolean, text[], integer[], integer[], integer[], integer[], text[], text[], integer[], uuid[], integer[], integer[], integer[], integer[], uuid[], text[], integer[], timestamp with time zone[], text[], text[], text[], text[], text[], text[], text[], integer[], jsonb); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.append(p_provision boolean, p_wait boolean, p_tenants text[], p_round_last_segments integer[], p_segment_tenants integer[], p_segment_last_streams integer[], p_stream_appends integer[], p_stream_types text[], p_stream_ids text[], p_stream_expected integer[], p_stream_expected_ids uuid[], p_stream_last_events integer[], p_stream_previous integer[], p_stream_events_before integer[], p_event_streams integer[], p_event_ids uuid[], p_event_types text[], p_event_schema_versions integer[], p_event_occurred_at timestamp with time zone[], p_event_actors text[], p_event_correlation_ids text[], p_event_causation_ids text[], p_event_traceparents text[], p_event_metadata text[], p_event_payloads text[], p_event_tags text[], p_append_forgotten integer[], p_extras jsonb, OUT heads double precision[], OUT versions integer[], OUT times timestamp with time zone[], OUT refusals jsonb) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
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

ALTER FUNCTION eventsourcing.append(p_provision boolean, p_wait boolean, p_tenants text[], p_round_last_segments integer[], p_segment_tenants integer[], p_segment_last_streams integer[], p_stream_appends integer[], p_stream_types text[], p_stream_ids text[], p_stream_expected integer[], p_stream_expected_ids uuid[], p_stream_last_events integer[], p_stream_previous integer[], p_stream_events_before integer[], p_event_streams integer[], p_event_ids uuid[], p_event_types text[], p_event_schema_versions integer[], p_event_occurred_at timestamp with time zone[], p_event_actors text[], p_event_correlation_ids text[], p_event_causation_ids text[], p_event_traceparents text[], p_event_metadata text[], p_event_payloads text[], p_event_tags text[], p_append_forgotten integer[], p_extras jsonb, OUT heads double precision[], OUT versions integer[], OUT times timestamp with time zone[], OUT refusals jsonb) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION append(p_provision boolean, p_wait boolean, p_tenants text[], p_round_last_segments integer[], p_segment_tenants integer[], p_segment_last_streams integer[], p_stream_appends integer[], p_stream_types text[], p_stream_ids text[], p_stream_expected integer[], p_stream_expected_ids uuid[], p_stream_last_events integer[], p_stream_previous integer[], p_stream_events_before integer[], p_event_streams integer[], p_event_ids uuid[], p_event_types text[], p_event_schema_versions integer[], p_event_occurred_at timestamp with time zone[], p_event_actors text[], p_event_correlation_ids text[], p_event_causation_ids text[], p_event_traceparents text[], p_event_metadata text[], p_event_payloads text[], p_event_tags text[], p_append_forgotten integer[], p_extras jsonb, OUT heads double precision[], OUT versions integer[], OUT times timestamp with time zone[], OUT refusals jsonb); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.append(p_provision boolean, p_wait boolean, p_tenants text[], p_round_last_segments integer[], p_segment_tenants integer[], p_segment_last_streams integer[], p_stream_appends integer[], p_stream_types text[], p_stream_ids text[], p_stream_expected integer[], p_stream_expected_ids uuid[], p_stream_last_events integer[], p_stream_previous integer[], p_stream_events_before integer[], p_event_streams integer[], p_event_ids uuid[], p_event_types text[], p_event_schema_versions integer[], p_event_occurred_at timestamp with time zone[], p_event_actors text[], p_event_correlation_ids text[], p_event_causation_ids text[], p_event_traceparents text[], p_event_metadata text[], p_event_payloads text[], p_event_tags text[], p_append_forgotten integer[], p_extras jsonb, OUT heads double precision[], OUT versions integer[], OUT times timestamp with time zone[], OUT refusals jsonb) IS 'Appends a batch of independent appends, each with its own outcome. Locks the rows of its tenants, in order.';

--
-- Name: append_committing(boolean, boolean, text[], integer[], integer[], integer[], integer[], text[], text[], integer[], uuid[], integer[], integer[], integer[], integer[], uuid[], text[], integer[], timestamp with time zone[], text[], text[], text[], text[], text[], text[], text[], integer[], jsonb); Type: PROCEDURE; Schema: eventsourcing; Owner: postgres
--

CREATE PROCEDURE eventsourcing.append_committing(IN p_provision boolean, IN p_wait boolean, IN p_tenants text[], IN p_round_last_segments integer[], IN p_segment_tenants integer[], IN p_segment_last_streams integer[], IN p_stream_appends integer[], IN p_stream_types text[], IN p_stream_ids text[], IN p_stream_expected integer[], IN p_stream_expected_ids uuid[], IN p_stream_last_events integer[], IN p_stream_previous integer[], IN p_stream_events_before integer[], IN p_event_streams integer[], IN p_event_ids uuid[], IN p_event_types text[], IN p_event_schema_versions integer[], IN p_event_occurred_at timestamp with time zone[], IN p_event_actors text[], IN p_event_correlation_ids text[], IN p_event_causation_ids text[], IN p_event_traceparents text[], IN p_event_metadata text[], IN p_event_payloads text[], IN p_event_tags text[], IN p_append_forgotten integer[], IN p_extras jsonb, OUT heads double precision[], OUT versions integer[], OUT times timestamp with time zone[], OUT refusals jsonb)
    LANGUAGE plpgsql
    AS $$
declare setting pg_catalog.text; answer pg_catalog.record;
begin
  rollback;
  -- the default level may be higher: an older snapshot would hide the commit of the previous holder of the lock
  if pg_catalog.current_setting('transaction_isolation') operator(pg_catalog.<>) 'read committed' then
    rollback; -- the question has taken a snapshot
    set transaction isolation level read committed;
  end if;
  answer := eventsourcing.append(p_provision, p_wait, p_tenants, p_round_last_segments, p_segment_tenants, p_segment_last_streams, p_stream_appends, p_stream_types, p_stream_ids, p_stream_expected, p_stream_expected_ids, p_stream_last_events, p_stream_previous, p_stream_events_before, p_event_streams, p_event_ids, p_event_types, p_event_schema_versions, p_event_occurred_at, p_event_actors, p_event_correlation_ids, p_event_causation_ids, p_event_traceparents, p_event_metadata, p_event_payloads, p_event_tags, p_append_forgotten, p_extras);
  heads := answer.heads; versions := answer.versions; times := answer.times; refusals := answer.refusals;
  -- Nothing was written, so nothing can be lost: the tenant's other appends do not wait for the disk.
  if coalesce(pg_catalog.cardinality(pg_catalog.array_remove(heads, null)), 0) operator(pg_catalog.=) 0 then
    setting := pg_catalog.set_config('synchronous_commit', 'off', true);
  end if;
end
$$;

ALTER PROCEDURE eventsourcing.append_committing(IN p_provision boolean, IN p_wait boolean, IN p_tenants text[], IN p_round_last_segments integer[], IN p_segment_tenants integer[], IN p_segment_last_streams integer[], IN p_stream_appends integer[], IN p_stream_types text[], IN p_stream_ids text[], IN p_stream_expected integer[], IN p_stream_expected_ids uuid[], IN p_stream_last_events integer[], IN p_stream_previous integer[], IN p_stream_events_before integer[], IN p_event_streams integer[], IN p_event_ids uuid[], IN p_event_types text[], IN p_event_schema_versions integer[], IN p_event_occurred_at timestamp with time zone[], IN p_event_actors text[], IN p_event_correlation_ids text[], IN p_event_causation_ids text[], IN p_event_traceparents text[], IN p_event_metadata text[], IN p_event_payloads text[], IN p_event_tags text[], IN p_append_forgotten integer[], IN p_extras jsonb, OUT heads double precision[], OUT versions integer[], OUT times timestamp with time zone[], OUT refusals jsonb) OWNER TO postgres;

--
-- Name: PROCEDURE append_committing(IN p_provision boolean, IN p_wait boolean, IN p_tenants text[], IN p_round_last_segments integer[], IN p_segment_tenants integer[], IN p_segment_last_streams integer[], IN p_stream_appends integer[], IN p_stream_types text[], IN p_stream_ids text[], IN p_stream_expected integer[], IN p_stream_expected_ids uuid[], IN p_stream_last_events integer[], IN p_stream_previous integer[], IN p_stream_events_before integer[], IN p_event_streams integer[], IN p_event_ids uuid[], IN p_event_types text[], IN p_event_schema_versions integer[], IN p_event_occurred_at timestamp with time zone[], IN p_event_actors text[], IN p_event_correlation_ids text[], IN p_event_causation_ids text[], IN p_event_traceparents text[], IN p_event_metadata text[], IN p_event_payloads text[], IN p_event_tags text[], IN p_append_forgotten integer[], IN p_extras jsonb, OUT heads double precision[], OUT versions integer[], OUT times timestamp with time zone[], OUT refusals jsonb); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON PROCEDURE eventsourcing.append_committing(IN p_provision boolean, IN p_wait boolean, IN p_tenants text[], IN p_round_last_segments integer[], IN p_segment_tenants integer[], IN p_segment_last_streams integer[], IN p_stream_appends integer[], IN p_stream_types text[], IN p_stream_ids text[], IN p_stream_expected integer[], IN p_stream_expected_ids uuid[], IN p_stream_last_events integer[], IN p_stream_previous integer[], IN p_stream_events_before integer[], IN p_event_streams integer[], IN p_event_ids uuid[], IN p_event_types text[], IN p_event_schema_versions integer[], IN p_event_occurred_at timestamp with time zone[], IN p_event_actors text[], IN p_event_correlation_ids text[], IN p_event_causation_ids text[], IN p_event_traceparents text[], IN p_event_metadata text[], IN p_event_payloads text[], IN p_event_tags text[], IN p_append_forgotten integer[], IN p_extras jsonb, OUT heads double precision[], OUT versions integer[], OUT times timestamp with time zone[], OUT refusals jsonb) IS 'eventsourcing.append as a transaction of its own.';

--
-- Name: append_one(uuid, text, text, integer, uuid, uuid, text, integer, timestamp with time zone, text, text, text, text, text, text, text[], integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.append_one(p_tenant uuid, p_aggregate_type text, p_aggregate_id text, p_expected integer, p_expected_id uuid, p_event_id uuid, p_event_type text, p_schema_version integer, p_occurred_at timestamp with time zone, p_actor text, p_correlation_id text, p_causation_id text, p_traceparent text, p_metadata text, p_payload text, p_tags text[], p_forgotten integer, OUT answer double precision[]) RETURNS double precision[]
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
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

ALTER FUNCTION eventsourcing.append_one(p_tenant uuid, p_aggregate_type text, p_aggregate_id text, p_expected integer, p_expected_id uuid, p_event_id uuid, p_event_type text, p_schema_version integer, p_occurred_at timestamp with time zone, p_actor text, p_correlation_id text, p_causation_id text, p_traceparent text, p_metadata text, p_payload text, p_tags text[], p_forgotten integer, OUT answer double precision[]) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION append_one(p_tenant uuid, p_aggregate_type text, p_aggregate_id text, p_expected integer, p_expected_id uuid, p_event_id uuid, p_event_type text, p_schema_version integer, p_occurred_at timestamp with time zone, p_actor text, p_correlation_id text, p_causation_id text, p_traceparent text, p_metadata text, p_payload text, p_tags text[], p_forgotten integer, OUT answer double precision[]); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.append_one(p_tenant uuid, p_aggregate_type text, p_aggregate_id text, p_expected integer, p_expected_id uuid, p_event_id uuid, p_event_type text, p_schema_version integer, p_occurred_at timestamp with time zone, p_actor text, p_correlation_id text, p_causation_id text, p_traceparent text, p_metadata text, p_payload text, p_tags text[], p_forgotten integer, OUT answer double precision[]) IS 'Appends one event in the common case; NULL in any other. Locks the row of its tenant.';

--
-- Name: append_one_committing(uuid, text, text, integer, uuid, uuid, text, integer, timestamp with time zone, text, text, text, text, text, text, text[], integer); Type: PROCEDURE; Schema: eventsourcing; Owner: postgres
--

CREATE PROCEDURE eventsourcing.append_one_committing(IN p_tenant uuid, IN p_aggregate_type text, IN p_aggregate_id text, IN p_expected integer, IN p_expected_id uuid, IN p_event_id uuid, IN p_event_type text, IN p_schema_version integer, IN p_occurred_at timestamp with time zone, IN p_actor text, IN p_correlation_id text, IN p_causation_id text, IN p_traceparent text, IN p_metadata text, IN p_payload text, IN p_tags text[], IN p_forgotten integer, OUT answer double precision[])
    LANGUAGE plpgsql
    AS $$
declare setting pg_catalog.text;
begin
  rollback;
  -- the default level may be higher: an older snapshot would hide the commit of the previous holder of the lock
  if pg_catalog.current_setting('transaction_isolation') operator(pg_catalog.<>) 'read committed' then
    rollback; -- the question has taken a snapshot
    set transaction isolation level read committed;
  end if;
  answer := eventsourcing.append_one(p_tenant, p_aggregate_type, p_aggregate_id, p_expected, p_expected_id, p_event_id, p_event_type, p_schema_version, p_occurred_at, p_actor, p_correlation_id, p_causation_id, p_traceparent, p_metadata, p_payload, p_tags, p_forgotten);
  
  -- Nothing was written, so nothing can be lost: the tenant's other appends do not wait for the disk.
  if coalesce(pg_catalog.cardinality(pg_catalog.array_remove(answer, null)), 0) operator(pg_catalog.=) 0 then
    setting := pg_catalog.set_config('synchronous_commit', 'off', true);
  end if;
end
$$;

ALTER PROCEDURE eventsourcing.append_one_committing(IN p_tenant uuid, IN p_aggregate_type text, IN p_aggregate_id text, IN p_expected integer, IN p_expected_id uuid, IN p_event_id uuid, IN p_event_type text, IN p_schema_version integer, IN p_occurred_at timestamp with time zone, IN p_actor text, IN p_correlation_id text, IN p_causation_id text, IN p_traceparent text, IN p_metadata text, IN p_payload text, IN p_tags text[], IN p_forgotten integer, OUT answer double precision[]) OWNER TO postgres;

--
-- Name: PROCEDURE append_one_committing(IN p_tenant uuid, IN p_aggregate_type text, IN p_aggregate_id text, IN p_expected integer, IN p_expected_id uuid, IN p_event_id uuid, IN p_event_type text, IN p_schema_version integer, IN p_occurred_at timestamp with time zone, IN p_actor text, IN p_correlation_id text, IN p_causation_id text, IN p_traceparent text, IN p_metadata text, IN p_payload text, IN p_tags text[], IN p_forgotten integer, OUT answer double precision[]); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON PROCEDURE eventsourcing.append_one_committing(IN p_tenant uuid, IN p_aggregate_type text, IN p_aggregate_id text, IN p_expected integer, IN p_expected_id uuid, IN p_event_id uuid, IN p_event_type text, IN p_schema_version integer, IN p_occurred_at timestamp with time zone, IN p_actor text, IN p_correlation_id text, IN p_causation_id text, IN p_traceparent text, IN p_metadata text, IN p_payload text, IN p_tags text[], IN p_forgotten integer, OUT answer double precision[]) IS 'eventsourcing.append_one as a transaction of its own.';

--
-- Name: begin_across_tenants(uuid, uuid); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.begin_across_tenants(p_tenant uuid, p_access uuid) RETURNS void
    LANGUAGE plpgsql
    AS $$
declare
  cleaned pg_catalog.text; -- the function sets no path, because its end would undo the cleaning of the session's path
begin
  if pg_catalog.current_setting('eventsourcing.tenant_id', true) operator(pg_catalog.<>) ''
    or pg_catalog.pg_current_xact_id_if_assigned() is not null
  then
    raise exception 'the last user of the connection left a bound tenant or an open transaction' using errcode = 'ES003';
  end if;
  -- assigned, because a PERFORM would take longer
  cleaned := eventsourcing.clean_session(false);
  if pg_catalog.current_setting('lock_timeout') operator(pg_catalog.=) '0' then
    -- a worker may have locked the projection, and then be idle for long
    cleaned := pg_catalog.set_config('lock_timeout', '10s', true);
  end if;
  perform eventsourcing.require_cross_tenant_access(p_access);
  perform eventsourcing.bind_tenant(p_tenant);
  perform pg_catalog.set_config('role', 'eventsourcing_all_tenants', true);
end
$$;

ALTER FUNCTION eventsourcing.begin_across_tenants(p_tenant uuid, p_access uuid) OWNER TO postgres;

--
-- Name: FUNCTION begin_across_tenants(p_tenant uuid, p_access uuid); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.begin_across_tenants(p_tenant uuid, p_access uuid) IS 'First statement of a transaction across tenants on behalf of one: binds it, under a recorded access.';

--
-- Name: begin_projection(text[], integer[], boolean[], uuid); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.begin_projection(p_projections text[], p_versions integer[], p_across boolean[], p_access uuid) RETURNS TABLE(tenant_id uuid, projection text, version integer, rebuild boolean, "position" double precision, head double precision, attempts integer, failed_position double precision, error text, failure_kind text, waited_ms double precision)
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
declare
  claim   pg_catalog.record;
  across  boolean;
  cleaned pg_catalog.text;
  twins   pg_catalog.text;
  renewed boolean;
begin
  if pg_catalog.current_setting('eventsourcing.tenant_id', true) operator(pg_catalog.<>) ''
    or pg_catalog.pg_current_xact_id_if_assigned() is not null
  then
    raise exception 'the last user of the connection left a bound tenant or an open transaction' using errcode = 'ES003';
  end if;
  -- assigned, because a PERFORM would take longer
  cleaned := eventsourcing.clean_session(false);
  if pg_catalog.current_setting('lock_timeout') operator(pg_catalog.=) '0' then
    -- an append, a worker or a change of a table may hold a lock that is needed here, and then be idle for long
    cleaned := pg_catalog.set_config('lock_timeout', '10s', true);
  end if;
  select * into claim from eventsourcing.claim_projection(p_projections, p_versions);
  if not found then
    return;
  end if;
  -- only counted, see tenants_beyond_share
  cleaned := pg_catalog.pg_try_advisory_xact_lock_shared(1702261875, pg_catalog.uuid_hash(claim.tenant_id))::pg_catalog.text;
  -- a worker that serves nobody else may do more in this transaction; a small backlog needs only one page
  if claim.head operator(pg_catalog.-) claim.position operator(pg_catalog.>) 100 and not eventsourcing.other_work_waits(
    p_projections, p_versions, claim.tenant_id, claim.projection, claim.version, claim.rebuild)
  then
    cleaned := pg_catalog.set_config('eventsourcing.alone', 'on', true);
  end if;
  across := (
    select p_across[i] from pg_catalog.generate_subscripts(p_projections, 1) i
    where p_projections[i] operator(pg_catalog.=) claim.projection and p_versions[i] operator(pg_catalog.=) claim.version
    limit 1);
  if across then
    perform eventsourcing.require_cross_tenant_access(p_access);
  end if;
  perform eventsourcing.bind_tenant(claim.tenant_id);
  if claim.rebuild then
    -- the handler then finds the twins before the live tables
    perform pg_catalog.set_config('search_path',
      case when pg_catalog.current_setting('search_path') operator(pg_catalog.=) '' then 'eventsourcing_rebuild'
        else pg_catalog.concat_ws(', ', 'eventsourcing_rebuild', pg_catalog.current_setting('search_path')) end, true);
  end if;
  perform pg_catalog.set_config('role',
    case when across then 'eventsourcing_all_tenants' else 'eventsourcing_tenant' end, true);
  if eventsourcing.tenant_status(claim.tenant_id) operator(pg_catalog.=)
    any (array['importing', 'moving', 'moved', 'erased'])
  then
    -- the status has changed since the claim began: the progress of such a tenant must stay as it is
    return;
  end if;
  if claim.rebuild then
    twins := eventsourcing.hold_twins(claim.tables);
    renewed := coalesce(claim.twins, '') operator(pg_catalog.<>) twins;
    if claim.shared and renewed then
      -- it starts over for all tenants at once, see prepare_shared_switch
      return;
    elsif renewed then
      if claim.twins is not null then
        -- its rows are gone with the twins that it has filled
        perform eventsourcing.start_rebuild(claim.tenant_id, claim.projection, claim.version);
        perform eventsourcing.clear_rebuild(claim.tenant_id, claim.tables);
        claim.position := 0;
        claim.attempts := 0;
        claim.failed_position := null;
        claim.error := null;
        claim.failure_kind := null;
        claim.waited_ms := 0;
      end if;
      perform eventsourcing.bind_rebuild(claim.tenant_id, claim.projection, claim.version, twins);
    end if;
    -- compared with the number at the end of the transaction, see live_writes
    perform pg_catalog.set_config('eventsourcing.live_writes',
      eventsourcing.live_writes(claim.tables)::pg_catalog.text, true);
  end if;
  return query select claim.tenant_id, claim.projection, claim.version, claim.rebuild,
    claim.position::double precision, claim.head::double precision, claim.attempts,
    claim.failed_position::double precision, claim.error, claim.failure_kind, claim.waited_ms;
end
$$;

ALTER FUNCTION eventsourcing.begin_projection(p_projections text[], p_versions integer[], p_across boolean[], p_access uuid) OWNER TO postgres;

--
-- Name: FUNCTION begin_projection(p_projections text[], p_versions integer[], p_across boolean[], p_access uuid); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.begin_projection(p_projections text[], p_versions integer[], p_across boolean[], p_access uuid) IS 'First statement of a worker''s transaction: claims work and binds its tenant.';

--
-- Name: begin_reading(uuid); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.begin_reading(p_tenant uuid) RETURNS double precision
    LANGUAGE plpgsql
    AS $$
declare
  setting pg_catalog.text; -- assigned, because a PERFORM would take longer
begin
  setting := eventsourcing.begin_tenant(p_tenant);
  -- always by the index, because a sort sends nothing before its end
  setting := pg_catalog.set_config('enable_sort', 'off', true);
  setting := pg_catalog.set_config('enable_seqscan', 'off', true);
  setting := pg_catalog.set_config('enable_bitmapscan', 'off', true);
  setting := pg_catalog.set_config('max_parallel_workers_per_gather', '0', true);
  setting := pg_catalog.set_config('jit', 'off', true);
  return (select h."position" from eventsourcing.log_head(p_tenant, null) h);
end
$$;

ALTER FUNCTION eventsourcing.begin_reading(p_tenant uuid) OWNER TO postgres;

--
-- Name: FUNCTION begin_reading(p_tenant uuid); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.begin_reading(p_tenant uuid) IS 'First statement of a transaction that reads a tenant''s log with stream_log; returns the head of the log.';

--
-- Name: begin_shared_rebuild(uuid, text, integer, boolean); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

CREATE FUNCTION eventsourcing.begin_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_restart boolean) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
declare
  known eventsourcing.projection_versions;
  filled text;
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  -- locked, so that only one session at a time begins or switches a rebuild, or retires the version
  select * into known from eventsourcing.projection_versions v
  where v.projection = p_projection and v.version = p_version and v.retired_at is null and not v.inline for update;
  if not found then
    return null;
  end if;
  filled := eventsourcing.twins_of(known.tables);
  if known.rebuilding and not p_restart and not exists (
    select from eventsourcing.projections p
    where p.projection = p_projection and p.version = p_version and p.rebuild
      and (p.parked or p.twins is distinct from filled)
  ) then
    return false;
  end if;
  -- waits for workers on the rebuild
  perform from eventsourcing.projections p
  where p.projection = p_projection and p.version = p_version and p.rebuild order by p.tenant_id for update;
  delete from eventsourcing.projections p where p.projection = p_projection and p.version = p_version and p.rebuild;
  delete from eventsourcing.dead_letters d where d.projection = p_projection and d.version = p_version and d.rebuild;
  insert into eventsourcing.projections (tenant_id, projection, version, rebuild, shared, twins, head)
  select t.tenant_id, p_projection, p_version, true, true, filled, log.head
  from eventsourcing.tenants t
  cross join lateral (
    select e.position as head from eventsourcing.events e where e.tenant_id = t.tenant_id
    order by e.position desc limit 1
  ) log
  order by 1;
  update eventsourcing.projection_versions v set rebuilding = true, held_until = null
  where v.projection = p_projection and v.version = p_version;
  return true;
end
$$;

ALTER FUNCTION eventsourcing.begin_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_restart boolean) OWNER TO eventsourcing_runner_owner;

--
-- Name: FUNCTION begin_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_restart boolean); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

COMMENT ON FUNCTION eventsourcing.begin_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_restart boolean) IS 'Begins a rebuild of a read model that all tenants share; returns true if it has begun.';

--
-- Name: begin_tenant(uuid); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.begin_tenant(p_tenant uuid) RETURNS void
    LANGUAGE plpgsql
    AS $$
declare
  cleaned pg_catalog.text; -- the function sets no path, because its end would undo the cleaning of the session's path
begin
  if pg_catalog.current_setting('eventsourcing.tenant_id', true) operator(pg_catalog.<>) ''
    or pg_catalog.pg_current_xact_id_if_assigned() is not null
  then
    raise exception 'the last user of the connection left a bound tenant or an open transaction' using errcode = 'ES003';
  end if;
  -- assigned, because a PERFORM would take longer
  cleaned := eventsourcing.clean_session(false);
  if pg_catalog.current_setting('lock_timeout') operator(pg_catalog.=) '0' then
    -- another transaction of the application may have locked the tenant, and then be idle for long
    cleaned := pg_catalog.set_config('lock_timeout', '10s', true);
  end if;
  perform eventsourcing.bind_tenant(p_tenant);
  perform pg_catalog.set_config('role', 'eventsourcing_tenant', true);
  perform eventsourcing.require_visible(p_tenant);
end
$$;

ALTER FUNCTION eventsourcing.begin_tenant(p_tenant uuid) OWNER TO postgres;

--
-- Name: FUNCTION begin_tenant(p_tenant uuid); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.begin_tenant(p_tenant uuid) IS 'First statement of a tenant-bound transaction: binds the tenant and switches to the role eventsourcing_tenant.';

--
-- Name: bind_rebuild(uuid, text, integer, text); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.bind_rebuild(p_tenant uuid, p_projection text, p_version integer, p_twins text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  update eventsourcing.projections p set twins = p_twins
  where p.tenant_id = p_tenant and p.projection = p_projection and p.version = p_version and p.rebuild;
end
$$;

ALTER FUNCTION eventsourcing.bind_rebuild(p_tenant uuid, p_projection text, p_version integer, p_twins text) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION bind_rebuild(p_tenant uuid, p_projection text, p_version integer, p_twins text); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.bind_rebuild(p_tenant uuid, p_projection text, p_version integer, p_twins text) IS 'Records the twins that a rebuild fills.';

--
-- Name: bind_tenant(uuid); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.bind_tenant(p_tenant uuid) RETURNS void
    LANGUAGE plpgsql
    AS $$
declare
  bound pg_catalog.text := pg_catalog.current_setting('eventsourcing.tenant_id', true);
begin
  if p_tenant is null then
    raise exception 'no tenant given' using errcode = 'ES002';
  elsif bound is null or bound operator(pg_catalog.=) '' then
    -- assigned, because a PERFORM would take longer
    bound := pg_catalog.set_config('eventsourcing.tenant_id', p_tenant::pg_catalog.text, true);
  elsif bound operator(pg_catalog.<>) p_tenant::pg_catalog.text then
    raise exception 'the transaction is bound to another tenant' using errcode = 'ES001';
  end if;
end
$$;

ALTER FUNCTION eventsourcing.bind_tenant(p_tenant uuid) OWNER TO postgres;

--
-- Name: FUNCTION bind_tenant(p_tenant uuid); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.bind_tenant(p_tenant uuid) IS 'Binds the tenant for the rest of the transaction and refuses another one.';

--
-- Name: cancel_rebuild(uuid, text, integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.cancel_rebuild(p_tenant uuid, p_projection text, p_version integer) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  delete from eventsourcing.projections p
  where p.tenant_id = p_tenant and p.projection = p_projection and p.version = p_version and p.rebuild and not p.shared;
  if not found then
    return false;
  end if;
  delete from eventsourcing.dead_letters d
  where d.tenant_id = p_tenant and d.projection = p_projection and d.version = p_version and d.rebuild;
  return true;
end
$$;

ALTER FUNCTION eventsourcing.cancel_rebuild(p_tenant uuid, p_projection text, p_version integer) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION cancel_rebuild(p_tenant uuid, p_projection text, p_version integer); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.cancel_rebuild(p_tenant uuid, p_projection text, p_version integer) IS 'Cancels a rebuild of a projection for the tenant.';

--
-- Name: cancel_shared_rebuild(uuid, text, integer, text[]); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.cancel_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_tables text[]) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
declare
  former     pg_catalog.text := pg_catalog.current_setting('role');
  cancelled  boolean;
  read_model pg_catalog.text;
begin
  if pg_catalog.current_setting('lock_timeout') operator(pg_catalog.=) '0' then
    -- a worker may have locked its tenant, and then be idle for long
    perform pg_catalog.set_config('lock_timeout', '10s', true);
  end if;
  perform eventsourcing.require_cross_tenant_access(p_access);
  perform pg_catalog.set_config('role', 'eventsourcing_all_tenants', true);
  cancelled := eventsourcing.end_shared_rebuild(p_access, p_projection, p_version);
  if cancelled then
    foreach read_model in array p_tables loop
      if pg_catalog.to_regclass(pg_catalog.format('eventsourcing_rebuild.%I', read_model)) is not null then
        execute pg_catalog.format('delete from eventsourcing_rebuild.%I', read_model);
      end if;
    end loop;
  end if;
  perform pg_catalog.set_config('role', former, true);
  return cancelled;
end
$$;

ALTER FUNCTION eventsourcing.cancel_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_tables text[]) OWNER TO postgres;

--
-- Name: FUNCTION cancel_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_tables text[]); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.cancel_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_tables text[]) IS 'Cancels a rebuild of a read model that all tenants share.';

--
-- Name: carried_key(text); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.carried_key(p_table text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
  select string_agg(format('t.%I', a.attname), ', ' order by k.n)
  from eventsourcing.tables_of_tenants() c
  join pg_index i on i.indrelid = c.target and i.indisprimary
  cross join lateral unnest(i.indkey::smallint[]) with ordinality k (attnum, n)
  join pg_attribute a on a.attrelid = c.target and a.attnum = k.attnum
  where c.name = p_table and c.handling = 'carried'
$$;

ALTER FUNCTION eventsourcing.carried_key(p_table text) OWNER TO postgres;

--
-- Name: FUNCTION carried_key(p_table text); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.carried_key(p_table text) IS 'The primary key of a carried table; NULL for any other table.';

--
-- Name: change_subject(uuid, uuid, text, text, jsonb); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

CREATE FUNCTION eventsourcing.change_subject(p_access uuid, p_tenant uuid, p_subject text, p_change text, p_given jsonb) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
declare
  known  record;
  before eventsourcing.subjects;
begin
  perform eventsourcing.administer(p_access, p_tenant);
  select t.status, t.forgotten_subjects + 1 as next into known
  from eventsourcing.tenants t where t.tenant_id = p_tenant for no key update;
  if known.status is null then
    return jsonb_build_object('problem', 'the tenant is not registered here: provision it first');
  elsif known.status not in ('active', 'suspended') then
    return jsonb_build_object('problem',
      format('the tenant is %s: subjects of an active or suspended tenant can be changed', known.status));
  end if;
  insert into eventsourcing.subjects (tenant_id, subject) values (p_tenant, p_subject) on conflict do nothing;
  select * into before from eventsourcing.subjects s where s.tenant_id = p_tenant and s.subject = p_subject;
  case p_change
    when 'begin' then
      if before.hold is not null then
        return jsonb_build_object('held', before.hold);
      end if;
      if before.forgotten ->> 'forgetting' is distinct from p_given ->> 'forgetting' then
        update eventsourcing.subjects s set begun = case
          when s.begun is null or s.begun::text = s.forgotten ->> 'forgetting' then (p_given ->> 'forgetting')::uuid else s.begun end
        where s.tenant_id = p_tenant and s.subject = p_subject;
      end if;
    when 'forget' then
      if before.forgotten ->> 'forgetting' is distinct from p_given ->> 'forgetting' then
        update eventsourcing.tenants t set forgotten_subjects = known.next where t.tenant_id = p_tenant;
        update eventsourcing.subjects s set begun = (p_given ->> 'forgetting')::uuid, number = known.next, forgotten = jsonb_build_object(
          'forgetting', p_given -> 'forgetting', 'forgottenAt', p_given -> 'forgottenAt', 'actor', p_given -> 'actor',
          'reason', p_given -> 'reason')
        where s.tenant_id = p_tenant and s.subject = p_subject;
      end if;
    when 'end' then
      update eventsourcing.subjects s set begun = null
      where s.tenant_id = p_tenant and s.subject = p_subject and s.begun = (p_given ->> 'forgetting')::uuid;
    when 'allow' then
      update eventsourcing.subjects s
      set forgotten = s.forgotten || jsonb_build_object('allowedAgainAt', p_given -> 'allowedAt')
      where s.tenant_id = p_tenant and s.subject = p_subject and s.forgotten is not null and not s.forgotten ? 'allowedAgainAt';
    when 'hold' then
      if before.begun is not null then
        return jsonb_build_object('problem', 'the subject is being forgotten: end that first');
      end if;
      update eventsourcing.subjects s set hold = jsonb_build_object(
        'actor', (select a.actor from eventsourcing.recorded_access(p_access) a), 'reason', p_given -> 'reason',
        'heldAt', (extract(epoch from clock_timestamp()) * 1000)::bigint)
      where s.tenant_id = p_tenant and s.subject = p_subject;
    when 'release' then
      update eventsourcing.subjects s set hold = null where s.tenant_id = p_tenant and s.subject = p_subject;
    else
      raise exception 'unknown change %', p_change using errcode = '22023';
  end case;
  return jsonb_build_object('subject', (
    select jsonb_build_object('subject', s.subject, 'number', s.number, 'forgotten', s.forgotten, 'begun', s.begun, 'hold', s.hold)
    from eventsourcing.subjects s where s.tenant_id = p_tenant and s.subject = p_subject));
end
$$;

ALTER FUNCTION eventsourcing.change_subject(p_access uuid, p_tenant uuid, p_subject text, p_change text, p_given jsonb) OWNER TO eventsourcing_administrator_owner;

--
-- Name: FUNCTION change_subject(p_access uuid, p_tenant uuid, p_subject text, p_change text, p_given jsonb); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

COMMENT ON FUNCTION eventsourcing.change_subject(p_access uuid, p_tenant uuid, p_subject text, p_change text, p_given jsonb) IS 'Forgets, allows, holds or releases a subject of a tenant, under the tenant''s lock.';

--
-- Name: change_tenant_state(uuid, uuid, text, uuid, jsonb); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

CREATE FUNCTION eventsourcing.change_tenant_state(p_access uuid, p_tenant uuid, p_change text, p_token uuid, p_arguments jsonb) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
declare
  known    record;
  head     record;
  moment   bigint;
  wanted   text;        -- the new status; NULL: nothing changes
  details  jsonb;       -- the new undertaking
  chained  bigint;
  problem  text;
  move     jsonb := p_arguments -> 'move'; -- an object, or the id of the move that is called off
  another  constant text := 'another undertaking has the tenant: its token differs';
  replaced constant text := 'another run has taken the move over';
  lasting  jsonb;       -- what stays on the row while the tenant is active or fenced
begin
  perform eventsourcing.administer(p_access, p_tenant);
  if p_change = 'fence' then
    perform set_config('lock_timeout', greatest((p_arguments ->> 'waitMillis')::integer, 1)::text, true);
  end if;
  if p_change in ('fence', 'erase') then
    -- Handlers end first. Progress rows before the tenant's row: a handler that appends holds its progress row and waits for the
    -- tenant's.
    perform from eventsourcing.projections p where p.tenant_id = p_tenant order by p.projection, p.version, p.rebuild for update;
  elsif p_change = 'beginImport' then
    insert into eventsourcing.tenants (tenant_id, status, undertaking)
    values (p_tenant, 'importing', jsonb_build_object('token', p_token))
    on conflict do nothing;
  end if;
  select t.status, coalesce(t.undertaking, '{}') as undertaking, t.undertaking ->> 'token' as token, t.undertaking -> 'run' as run, t.hold, t.chained_from
  into known from eventsourcing.tenants t where t.tenant_id = p_tenant for no key update;
  if known.status is null then
    return jsonb_build_object('problem', 'the tenant is not registered here');
  end if;
  -- statements of their own, so that they see the commit of the previous holder of the lock
  moment := (extract(epoch from clock_timestamp()) * 1000)::bigint;
  select coalesce(max(e.position), 0) as position, (array_agg(encode(e.hash, 'hex')))[1] as hash into head
  from (
    select x.position, x.hash from eventsourcing.events x where x.tenant_id = p_tenant order by x.position desc limit 1
  ) e;
  chained := known.chained_from;
  details := known.undertaking;
  lasting := jsonb_strip_nulls(jsonb_build_object('calledOff', known.undertaking -> 'calledOff', 'run', known.run));
  if p_change = 'beginImport' and move is not null then
    move := move - 'leaseMillis' || jsonb_build_object('until', moment + (move ->> 'leaseMillis')::bigint);
  end if;

  case p_change
    when 'beginImport' then
      if known.status = 'importing' then
        if known.token <> p_token::text and known.undertaking -> 'move' -> 'id' is distinct from move -> 'id' then
          problem := 'another import writes the tenant: end or purge that one first';
        elsif known.token <> p_token::text and (known.undertaking -> 'move' ->> 'until')::bigint > moment then
          problem := 'another process carries out the move, and its lease has not expired';
        elsif known.token <> p_token::text and move is null then
          problem := 'another import writes the tenant: end or purge that one first';
        elsif move is not null then
          wanted := 'importing';
          details := jsonb_build_object('token', p_token, 'move', move);
        end if;
      elsif known.status = 'moved' and known.undertaking -> 'purged' = 'true' then
        wanted := 'importing';
        details := jsonb_strip_nulls(jsonb_build_object('token', p_token, 'move', move));
        chained := null;
      else
        problem := format('the tenant is %s, and an import writes only a tenant that is not registered%s', known.status,
          case known.status when 'moved' then ', or whose rows were purged after a move: purge them first' else '' end);
      end if;
    when 'renewLease' then
      if known.status <> 'importing' or known.undertaking -> 'move' is null then
        problem := format('the tenant is %s, and no move imports it', known.status);
      elsif known.token <> p_token::text then
        problem := another;
      else
        wanted := 'importing';
        details := jsonb_set(known.undertaking, '{move,until}', to_jsonb(moment + (p_arguments ->> 'leaseMillis')::bigint));
      end if;
    when 'finishImport' then
      if known.status in ('active', 'suspended') and known.token = p_token::text then
        null; -- finished before
      elsif known.status <> 'importing' then
        problem := format('the tenant is %s, not importing', known.status);
      elsif known.token <> p_token::text then
        problem := another;
      elsif head.position <> (p_arguments ->> 'head')::bigint then
        problem := format('its log ends at %s, not at %s', head.position, p_arguments ->> 'head');
      else
        wanted := p_arguments ->> 'status';
        chained := (p_arguments ->> 'chainedFrom')::bigint;
      end if;
    when 'takeOver' then
      if known.undertaking -> 'calledOff' @> jsonb_build_array(move) then
        problem := 'the move was called off';
      elsif known.status = 'moved' and known.undertaking -> 'move' = move then
        null; -- decided
      elsif known.status not in ('active', 'moving') then
        problem := format('the tenant is %s, and only an active tenant moves', known.status);
      elsif known.status = 'moving' and known.undertaking -> 'move' -> 'id' is distinct from move
        and (known.undertaking ->> 'until')::bigint > moment
      then
        problem := another;
      elsif known.run ->> 'token' is distinct from p_arguments ->> 'former' then
        problem := replaced;
      else
        wanted := 'active';
        details := lasting || jsonb_build_object('run', jsonb_build_object('move', move, 'token', p_token));
      end if;
    when 'fence' then
      if known.undertaking -> 'calledOff' @> jsonb_build_array(move -> 'id') then
        problem := 'the move was called off';
      elsif known.status = 'moving' and known.token <> p_token::text then
        problem := another;
      elsif known.status not in ('active', 'moving') then
        problem := format('the tenant is %s, and only an active tenant moves', known.status);
      elsif move is not null and known.run ->> 'token' <> p_token::text then
        problem := replaced;
      else
        wanted := 'moving';
        details := lasting || jsonb_strip_nulls(jsonb_build_object('token', p_token, 'head', head.position, 'move', move,
          'until', moment + (p_arguments ->> 'expiresInMillis')::bigint));
      end if;
    when 'reopen' then
      if known.status = 'active' then
        null; -- reopened before
      elsif known.status <> 'moving' then
        problem := format('the tenant is %s, not moving', known.status);
      elsif p_token is not null and known.token <> p_token::text then
        problem := another;
      elsif p_token is null and (known.undertaking ->> 'until')::bigint > moment then
        problem := 'the fence has not expired: only the move itself may remove it now';
      else
        wanted := 'active';
        details := lasting;
      end if;
    when 'callOff' then
      if known.status = 'moved' and known.undertaking -> 'move' = move then
        problem := 'the move is decided: it leads only forward';
      elsif known.run -> 'move' = move and known.run ->> 'token' <> p_token::text
        and not coalesce(known.undertaking -> 'calledOff' @> jsonb_build_array(move), false)
      then
        problem := replaced;
      else
        wanted := known.status;
        details := known.undertaking;
        if known.status = 'moving' and known.undertaking -> 'move' -> 'id' = move then
          wanted := 'active';
          details := lasting;
        end if;
        if not coalesce(details -> 'calledOff' @> jsonb_build_array(move), false) then
          details := details || jsonb_build_object('calledOff', (
            select jsonb_agg(c.id order by c.n) from (
              select c.id, c.n from jsonb_array_elements(coalesce(details -> 'calledOff', '[]') || jsonb_build_array(move))
                with ordinality c (id, n)
              order by c.n desc limit 16
            ) c));
        end if;
      end if;
    when 'decide' then
      if known.status = 'moved' and known.token = p_token::text then
        null; -- decided before
      elsif known.status <> 'moving' then
        problem := format('the tenant is %s, not moving: the move is off', known.status);
      elsif known.token <> p_token::text then
        problem := another;
      elsif head.position <> (p_arguments ->> 'head')::bigint then
        problem := format('its log ends at %s, not at %s', head.position, p_arguments ->> 'head');
      else
        wanted := 'moved';
        details := jsonb_strip_nulls(jsonb_build_object('token', p_token, 'head', head.position, 'to', p_arguments ->> 'to',
          'move', known.undertaking -> 'move' -> 'id', 'at', moment));
      end if;
    when 'erase' then
      if known.status = 'erased' then
        problem := case when known.token <> p_token::text then 'the tenant is erased already' end;
      elsif known.status not in ('active', 'suspended', 'moved') then
        problem := format('the tenant is %s: end that first', known.status);
      elsif known.hold is not null then
        return jsonb_build_object('held', known.hold);
      elsif known.status <> 'moved' and not coalesce((p_arguments ->> 'heldSubjects')::boolean, false)
        and exists (select from eventsourcing.subjects s where s.tenant_id = p_tenant and s.hold is not null) then
        return jsonb_build_object('heldSubjects', (
          select jsonb_agg(jsonb_build_object('subject', h.subject, 'actor', h.hold -> 'actor', 'reason', h.hold -> 'reason') order by h.subject)
          from (
            select s.subject, s.hold from eventsourcing.subjects s
            where s.tenant_id = p_tenant and s.hold is not null order by s.subject limit 10
          ) h));
      else
        wanted := 'erased';
        details := (
          select jsonb_build_object('token', p_token, 'former', known.status, 'formerly', known.undertaking, 'erasedAt', moment,
            'access', p_access, 'actor', a.actor, 'reason', a.reason, 'events', head.position, 'lastHash', head.hash,
            'purgeFrom', moment + (p_arguments ->> 'purgeInMillis')::bigint)
          from eventsourcing.recorded_access(p_access) a);
      end if;
    when 'restore' then
      if known.status in ('active', 'suspended', 'moved') then
        problem := case when known.undertaking ->> 'restored' is distinct from p_token::text then 'the tenant is not erased' end;
      elsif known.status <> 'erased' then
        problem := format('the tenant is %s, not erased', known.status);
      elsif known.token <> p_token::text then
        problem := another;
      elsif known.undertaking -> 'purging' = 'true' then
        problem := 'some of its rows are gone: it cannot be restored';
      else
        wanted := known.undertaking ->> 'former';
        details := (known.undertaking -> 'formerly') || jsonb_build_object('restored', p_token);
      end if;
    else
      raise exception 'unknown change %', p_change using errcode = '22023';
  end case;

  if problem is not null then
    return jsonb_build_object('problem', problem);
  end if;
  if wanted is not null then
    update eventsourcing.tenants t set status = wanted, undertaking = nullif(details, '{}'), chained_from = chained,
      origin = case p_change when 'finishImport' then p_arguments -> 'origin' when 'beginImport' then null else t.origin end,
      hold = case when p_change = 'finishImport' then coalesce(p_arguments -> 'hold', t.hold)
        when p_change = 'beginImport' and known.status = 'moved' then null else t.hold end,
      quota = case when p_change = 'finishImport' then coalesce(p_arguments -> 'quota', t.quota) else t.quota end
    where t.tenant_id = p_tenant;
  end if;
  return null;
end
$$;

ALTER FUNCTION eventsourcing.change_tenant_state(p_access uuid, p_tenant uuid, p_change text, p_token uuid, p_arguments jsonb) OWNER TO eventsourcing_administrator_owner;

--
-- Name: FUNCTION change_tenant_state(p_access uuid, p_tenant uuid, p_change text, p_token uuid, p_arguments jsonb); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

COMMENT ON FUNCTION eventsourcing.change_tenant_state(p_access uuid, p_tenant uuid, p_change text, p_token uuid, p_arguments jsonb) IS 'Changes the state of a tenant under its lock, or returns the reason against it.';

--
-- Name: claim_projection(text[], integer[]); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

CREATE FUNCTION eventsourcing.claim_projection(p_projections text[], p_versions integer[]) RETURNS TABLE(tenant_id uuid, projection text, version integer, rebuild boolean, "position" bigint, head bigint, attempts integer, failed_position bigint, error text, failure_kind text, waited_ms double precision, tables text[], shared boolean, twins text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
#variable_conflict use_column
declare
  moment constant timestamptz := clock_timestamp();
  -- other rows may have been served since this call began
  ahead  constant timestamptz := moment + interval '1 second';
  known  record;
  -- the progress of these tenants stays as it is
  unseen constant uuid[] := eventsourcing.unseen_tenants(true);
  last_  constant bigint[] := eventsourcing.tenants_beyond_share();
begin
  for pass in case last_ when '{}' then 2 else 1 end .. 2 loop
    for i in 1 .. cardinality(p_projections) loop
      -- after the clock went back nothing is held
      select v.tables, coalesce(v.held_until between moment and moment + interval '10 seconds', false) as held,
          case when v.rebuilding then eventsourcing.twins_of(v.tables) end as twins
        into known
        from eventsourcing.projection_versions v
        where v.projection = p_projections[i] and v.version = p_versions[i] and v.retired_at is null and not v.inline;
      continue when not found;
      return query
        select p.tenant_id, p.projection, p.version, p.rebuild, p.position, p.head, p.attempts,
          p.failed_position, p.error, p.failure_kind, p.waited_ms, known.tables, p.shared, p.twins
        from eventsourcing.projections p
        where p.projection = p_projections[i] and p.version = p_versions[i]
          and (not p.parked or p.retry_at is not null) and (p.position < p.head or p.rebuild and not p.shared)
          and (unseen = '{}' or p.tenant_id <> all (unseen))
          and (p.rebuild or not known.held) and (not p.shared or p.twins = known.twins)
          and p.served_at > ahead
          and (pass = 2 or (uuid_hash(p.tenant_id)::bigint & 4294967295) <> all (last_))
        order by p.served_at
        limit 1
        for update skip locked;
      if found then
        return;
      end if;
      return query
        select p.tenant_id, p.projection, p.version, p.rebuild, p.position, p.head, p.attempts,
          p.failed_position, p.error, p.failure_kind, p.waited_ms, known.tables, p.shared, p.twins
        from eventsourcing.projections p
        where p.projection = p_projections[i] and p.version = p_versions[i]
          and (not p.parked or p.retry_at is not null) and (p.position < p.head or p.rebuild and not p.shared)
          and (unseen = '{}' or p.tenant_id <> all (unseen))
          and (p.rebuild or not known.held) and (not p.shared or p.twins = known.twins)
          and (p.retry_at is null or p.retry_at <= moment)
          and (pass = 2 or (uuid_hash(p.tenant_id)::bigint & 4294967295) <> all (last_))
        order by p.served_at
        limit 1
        for update skip locked;
      if found then
        return;
      end if;
    end loop;
  end loop;
end
$$;

ALTER FUNCTION eventsourcing.claim_projection(p_projections text[], p_versions integer[]) OWNER TO eventsourcing_runner_owner;

--
-- Name: FUNCTION claim_projection(p_projections text[], p_versions integer[]); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

COMMENT ON FUNCTION eventsourcing.claim_projection(p_projections text[], p_versions integer[]) IS 'Claims the projection and tenant that have waited longest.';

--
-- Name: clean_session(boolean); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.clean_session(p_ending boolean) RETURNS void
    LANGUAGE plpgsql
    AS $$
declare
  -- qualified, because a temporary type named text would be found first
  prepared pg_catalog.text;
  released pg_catalog.text;
begin
  if p_ending then
    -- deferred checks need the tenant and the settings of the transaction
    set constraints all immediate;
  end if;
  reset all;
  execute 'close all';
  if pg_catalog.pg_my_temp_schema() operator(pg_catalog.<>) 0 then
    discard temp;
  end if;
  discard sequences;
  -- assigned, because a PERFORM would take longer
  released := pg_catalog.pg_advisory_unlock_all();
  if p_ending then
    -- a standby does not accept LISTEN
    if not pg_catalog.pg_is_in_recovery() then
      unlisten *;
    end if;
    for prepared in select p.name from pg_catalog.pg_prepared_statement() p where p.from_sql loop
      execute pg_catalog.format('deallocate %I', prepared);
    end loop;
    reset session authorization;
    reset role;
  end if;
end
$$;

ALTER FUNCTION eventsourcing.clean_session(p_ending boolean) OWNER TO postgres;

--
-- Name: FUNCTION clean_session(p_ending boolean); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.clean_session(p_ending boolean) IS 'Removes settings, cursors, temporary objects, locks, listens and SQL-level prepared statements from the session.';

--
-- Name: clear_rebuild(uuid, text[]); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.clear_rebuild(p_tenant uuid, p_tables text[]) RETURNS void
    LANGUAGE plpgsql
    AS $_$
declare
  read_model pg_catalog.text;
begin
  perform eventsourcing.bind_tenant(p_tenant);
  foreach read_model in array p_tables loop
    continue when pg_catalog.to_regclass(pg_catalog.format('eventsourcing_rebuild.%I', read_model)) is null;
    execute pg_catalog.format('delete from eventsourcing_rebuild.%I where tenant_id operator(pg_catalog.=) $1', read_model) using p_tenant;
  end loop;
end
$_$;

ALTER FUNCTION eventsourcing.clear_rebuild(p_tenant uuid, p_tables text[]) OWNER TO postgres;

--
-- Name: FUNCTION clear_rebuild(p_tenant uuid, p_tables text[]); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.clear_rebuild(p_tenant uuid, p_tables text[]) IS 'Empties the twins of read models for the tenant.';

--
-- Name: clear_retired_projections(); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

CREATE FUNCTION eventsourcing.clear_retired_projections() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
declare
  gone eventsourcing.projection_versions;
begin
  for gone in
    select * from eventsourcing.projection_versions v where v.retired_at is not null and not v.cleared
    for update skip locked
  loop
    -- rows that a worker has locked are left to the next call
    delete from eventsourcing.projections p
    where (p.tenant_id, p.projection, p.version, p.rebuild) in (
      select q.tenant_id, q.projection, q.version, q.rebuild from eventsourcing.projections q
      where q.projection = gone.projection and q.version = gone.version for update skip locked);
    delete from eventsourcing.projection_failures f
    where f.projection = gone.projection and f.version = gone.version;
    update eventsourcing.projection_versions v set cleared = true
    where v.projection = gone.projection and v.version = gone.version
      and v.retired_at < clock_timestamp() - interval '1 minute'
      and not exists (
        select from eventsourcing.projections p where p.projection = gone.projection and p.version = gone.version);
  end loop;
end
$$;

ALTER FUNCTION eventsourcing.clear_retired_projections() OWNER TO eventsourcing_runner_owner;

--
-- Name: FUNCTION clear_retired_projections(); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

COMMENT ON FUNCTION eventsourcing.clear_retired_projections() IS 'Removes the progress of retired versions, and the causes of their failures.';

--
-- Name: command_outcomes(text[], text[]); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.command_outcomes(p_tenants text[], p_keys text[]) RETURNS TABLE(request integer, fingerprint text, aggregate_type text, aggregate_id text, version integer, "position" double precision, events integer)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
#variable_conflict use_column
begin
  if nullif(current_setting('eventsourcing.tenant_id', true), '') is not null then
    -- a bound transaction refuses other tenants
    for n in 1 .. cardinality(p_tenants) loop
      perform eventsourcing.bind_tenant(p_tenants[n]::uuid);
    end loop;
  end if;
  if array_position(p_tenants, null) is not null then
    raise exception 'no tenant given' using errcode = 'ES002';
  end if;
  return query
    select r.n, c.fingerprint, c.aggregate_type, c.aggregate_id, c.version, c.position::double precision, c.events
    from generate_series(1, cardinality(p_tenants)) r (n)
    cross join lateral (
      -- in this order: the tenant is bound, and then refused if its status hides it; once, as that takes longer than a look-up
      select set_config('eventsourcing.tenant_id', p_tenants[r.n], true)::uuid as tenant_id,
        case when r.n = 1 or p_tenants[r.n] <> p_tenants[r.n - 1] then eventsourcing.require_visible(p_tenants[r.n]::uuid) end
      offset 0
    ) b
    cross join lateral (
      select k.fingerprint, k.aggregate_type, k.aggregate_id, k.version, k.position, k.events
      from eventsourcing.command_keys k
      where k.tenant_id = b.tenant_id and k.key between p_keys[r.n] and p_keys[r.n] and k.expires_at > clock_timestamp()
      order by k.key limit 1
    ) c;
end
$$;

ALTER FUNCTION eventsourcing.command_outcomes(p_tenants text[], p_keys text[]) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION command_outcomes(p_tenants text[], p_keys text[]); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.command_outcomes(p_tenants text[], p_keys text[]) IS 'The recorded outcomes of commands by their keys, of one or several tenants.';

--
-- Name: complete_operation(uuid, jsonb); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

CREATE FUNCTION eventsourcing.complete_operation(p_access uuid, p_outcome jsonb) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  update eventsourcing.cross_tenant_accesses a
  set completed_at = clock_timestamp(), outcome = p_outcome
  where a.access_id = p_access and a.login = session_user::text and a.outcome is null and a.parameters is not null;
  return found;
end
$$;

ALTER FUNCTION eventsourcing.complete_operation(p_access uuid, p_outcome jsonb) OWNER TO eventsourcing_all_tenants_owner;

--
-- Name: FUNCTION complete_operation(p_access uuid, p_outcome jsonb); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

COMMENT ON FUNCTION eventsourcing.complete_operation(p_access uuid, p_outcome jsonb) IS 'Records the outcome of an operation, once, by the login that recorded it.';

--
-- Name: create_committing(text); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.create_committing(p_name text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  wanted  oid := (
    select p.oid from pg_proc p
    where p.pronamespace = 'eventsourcing'::regnamespace and p.prokind = 'f' and p.proname = p_name);
  inputs  text;
  outputs text[];
  answer  text;
begin
  select string_agg(format('%I', a.name), ', ' order by a.n) filter (where a.mode = 'i'),
    array_agg(quote_ident(a.name) order by a.n) filter (where a.mode = 'o')
  into inputs, outputs
  from pg_proc p cross join lateral unnest(p.proargnames, p.proargmodes::text[]) with ordinality a (name, mode, n)
  where p.oid = wanted;
  -- a record takes some 15 us longer than a value
  answer := case cardinality(outputs) when 1 then outputs[1] else 'answer' end;
  execute format($procedure$
create or replace procedure eventsourcing.%1$I(%2$s)
language plpgsql
as $body$
%6$s
begin
  rollback;
  -- the default level may be higher: an older snapshot would hide the commit of the previous holder of the lock
  if pg_catalog.current_setting('transaction_isolation') operator(pg_catalog.<>) 'read committed' then
    rollback; -- the question has taken a snapshot
    set transaction isolation level read committed;
  end if;
  %7$s := eventsourcing.%3$I(%4$s);
  %5$s
  -- Nothing was written, so nothing can be lost: the tenant's other appends do not wait for the disk.
  if coalesce(pg_catalog.cardinality(pg_catalog.array_remove(%8$s, null)), 0) operator(pg_catalog.=) 0 then
    setting := pg_catalog.set_config('synchronous_commit', 'off', true);
  end if;
end
$body$
$procedure$, p_name || '_committing', pg_get_function_arguments(wanted), p_name, inputs,
    case when cardinality(outputs) > 1
      then (select string_agg(format('%1$s := answer.%1$s;', o.name), ' ' order by o.n)
        from unnest(outputs) with ordinality o (name, n)) end,
    concat('declare setting pg_catalog.text;', case when cardinality(outputs) > 1 then ' answer pg_catalog.record;' end), answer,
    outputs[1]);
  execute format('comment on procedure eventsourcing.%I is %L', p_name || '_committing',
    format('eventsourcing.%s as a transaction of its own.', p_name));
end
$_$;

ALTER FUNCTION eventsourcing.create_committing(p_name text) OWNER TO postgres;

--
-- Name: FUNCTION create_committing(p_name text); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.create_committing(p_name text) IS 'Creates a procedure that runs a function of the event store as a transaction of its own.';

--
-- Name: declare_table(regclass, text, text); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.declare_table(target regclass, handling text, reason text DEFAULT NULL::text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  perform eventsourcing.protect_tenant_table(target);
  if handling = 'carried' and not exists (
    select from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
    where i.indrelid = target and i.indisprimary and a.attname = 'tenant_id'
  ) then
    raise exception 'table % has no primary key that begins with tenant_id, so that it cannot be carried', target
      using hint = 'add the key, then call eventsourcing.declare_table again';
  end if;
  execute format('grant select, insert, update, delete on %s to eventsourcing_administrator_owner', target);
  insert into eventsourcing.declared_tables as d (name, handling, reason)
  select format('%I.%I', n.nspname, c.relname), declare_table.handling, declare_table.reason
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = target
  on conflict (name) do update set handling = excluded.handling, reason = excluded.reason;
end
$$;

ALTER FUNCTION eventsourcing.declare_table(target regclass, handling text, reason text) OWNER TO postgres;

--
-- Name: FUNCTION declare_table(target regclass, handling text, reason text); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.declare_table(target regclass, handling text, reason text) IS 'Protects a table with rows of tenants, and states its part in exports and moves: derived, carried or keptOut.';

--
-- Name: define_plan(uuid, text, jsonb); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

CREATE FUNCTION eventsourcing.define_plan(p_access uuid, p_name text, p_limits jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  insert into eventsourcing.plans as p (name, limits) values (p_name, p_limits)
  on conflict (name) do update set limits = excluded.limits;
end
$$;

ALTER FUNCTION eventsourcing.define_plan(p_access uuid, p_name text, p_limits jsonb) OWNER TO eventsourcing_administrator_owner;

--
-- Name: FUNCTION define_plan(p_access uuid, p_name text, p_limits jsonb); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

COMMENT ON FUNCTION eventsourcing.define_plan(p_access uuid, p_name text, p_limits jsonb) IS 'Defines a plan for the quotas of tenants, or changes its limits.';

--
-- Name: end_expired_move(uuid); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

CREATE FUNCTION eventsourcing.end_expired_move(p_tenant uuid) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
declare
  known record;
begin
  perform eventsourcing.bind_tenant(p_tenant);
  select t.status, (t.undertaking ->> 'until')::bigint as until into known
  from eventsourcing.tenants t where t.tenant_id = p_tenant for no key update;
  if known.status = 'moving' and known.until <= extract(epoch from clock_timestamp()) * 1000 then
    update eventsourcing.tenants t set status = 'active',
      undertaking = nullif(jsonb_strip_nulls(jsonb_build_object(
        'calledOff', t.undertaking -> 'calledOff', 'run', t.undertaking -> 'run')), '{}')
    where t.tenant_id = p_tenant;
    return 'active';
  end if;
  return known.status;
end
$$;

ALTER FUNCTION eventsourcing.end_expired_move(p_tenant uuid) OWNER TO eventsourcing_administrator_owner;

--
-- Name: FUNCTION end_expired_move(p_tenant uuid); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

COMMENT ON FUNCTION eventsourcing.end_expired_move(p_tenant uuid) IS 'Removes the expired fence of a move; returns the status of the tenant.';

--
-- Name: end_shared_rebuild(uuid, text, integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

CREATE FUNCTION eventsourcing.end_shared_rebuild(p_access uuid, p_projection text, p_version integer) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  -- locked, so that no other session begins or switches a rebuild meanwhile
  perform from eventsourcing.projection_versions v
  where v.projection = p_projection and v.version = p_version and v.rebuilding for update;
  if not found then
    return false;
  end if;
  perform from eventsourcing.projections p
  where p.projection = p_projection and p.version = p_version and p.rebuild order by p.tenant_id for update;
  delete from eventsourcing.projections p where p.projection = p_projection and p.version = p_version and p.rebuild;
  delete from eventsourcing.dead_letters d where d.projection = p_projection and d.version = p_version and d.rebuild;
  update eventsourcing.projection_versions v set rebuilding = false, held_until = null
  where v.projection = p_projection and v.version = p_version;
  return true;
end
$$;

ALTER FUNCTION eventsourcing.end_shared_rebuild(p_access uuid, p_projection text, p_version integer) OWNER TO eventsourcing_runner_owner;

--
-- Name: FUNCTION end_shared_rebuild(p_access uuid, p_projection text, p_version integer); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

COMMENT ON FUNCTION eventsourcing.end_shared_rebuild(p_access uuid, p_projection text, p_version integer) IS 'Removes the progress of a rebuild of a read model that all tenants share.';

--
-- Name: event_hash(bytea, uuid, bigint, text, text, integer, uuid, text, integer, timestamp with time zone, timestamp with time zone, text, text, text, text, text, text[]); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.event_hash(p_previous bytea, p_tenant uuid, p_position bigint, p_aggregate_type text, p_aggregate_id text, p_version integer, p_event_id uuid, p_event_type text, p_schema_version integer, p_occurred_at timestamp with time zone, p_recorded_at timestamp with time zone, p_actor text, p_correlation_id text, p_causation_id text, p_metadata text, p_payload text, p_tags text[]) RETURNS bytea
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
begin
  return sha256(p_previous || (
    select string_agg(
      coalesce(octet_length(f.bytes) || ':', '-')::bytea || coalesce(f.bytes, ''), '' order by f.place)
    from (
      select convert_to(u.field, 'UTF8') as bytes, u.place
      from unnest(array[
        p_tenant::text, p_position::text, p_aggregate_type, p_aggregate_id, p_version::text, p_event_id::text,
        p_event_type, p_schema_version::text, (extract(epoch from p_occurred_at) * 1000)::bigint::text,
        (extract(epoch from p_recorded_at) * 1000)::bigint::text, p_actor, p_correlation_id, p_causation_id, p_metadata,
        p_payload, coalesce(cardinality(p_tags), 0)::text
      ] || p_tags) with ordinality u (field, place)
    ) f));
end
$$;

ALTER FUNCTION eventsourcing.event_hash(p_previous bytea, p_tenant uuid, p_position bigint, p_aggregate_type text, p_aggregate_id text, p_version integer, p_event_id uuid, p_event_type text, p_schema_version integer, p_occurred_at timestamp with time zone, p_recorded_at timestamp with time zone, p_actor text, p_correlation_id text, p_causation_id text, p_metadata text, p_payload text, p_tags text[]) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION event_hash(p_previous bytea, p_tenant uuid, p_position bigint, p_aggregate_type text, p_aggregate_id text, p_version integer, p_event_id uuid, p_event_type text, p_schema_version integer, p_occurred_at timestamp with time zone, p_recorded_at timestamp with time zone, p_actor text, p_correlation_id text, p_causation_id text, p_metadata text, p_payload text, p_tags text[]); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.event_hash(p_previous bytea, p_tenant uuid, p_position bigint, p_aggregate_type text, p_aggregate_id text, p_version integer, p_event_id uuid, p_event_type text, p_schema_version integer, p_occurred_at timestamp with time zone, p_recorded_at timestamp with time zone, p_actor text, p_correlation_id text, p_causation_id text, p_metadata text, p_payload text, p_tags text[]) IS 'The hash of an event in the chain of its tenant.';

--
-- Name: event_position(uuid, uuid); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.event_position(p_tenant uuid, p_event_id uuid) RETURNS double precision
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  perform eventsourcing.require_visible(p_tenant);
  return (select e.position from eventsourcing.events e where e.tenant_id = p_tenant and e.event_id = p_event_id);
end
$$;

ALTER FUNCTION eventsourcing.event_position(p_tenant uuid, p_event_id uuid) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION event_position(p_tenant uuid, p_event_id uuid); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.event_position(p_tenant uuid, p_event_id uuid) IS 'The position of an event of the tenant''s log by its id.';

--
-- Name: exclude_tenant(uuid); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.exclude_tenant(p_tenant uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
declare
  before constant text := current_setting('role');
begin
  if exists (select from eventsourcing.placements p where p.here and p.dedicated) then
    raise exception 'a dedicated database accepts only the tenants that were admitted, so it excludes none';
  end if;
  perform eventsourcing.provision_tenant(p_tenant);
  -- the only role with the right; the update waits for an append of the tenant
  perform set_config('role', 'eventsourcing_all_tenants_owner', true);
  update eventsourcing.tenants t set status = 'elsewhere'
  where t.tenant_id = p_tenant and t.status in ('active', 'suspended');
  perform set_config('role', before, true);
end
$$;

ALTER FUNCTION eventsourcing.exclude_tenant(p_tenant uuid) OWNER TO postgres;

--
-- Name: FUNCTION exclude_tenant(p_tenant uuid); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.exclude_tenant(p_tenant uuid) IS 'Refuses a tenant with its own database in a pool, as the owner of the pool.';

--
-- Name: fail_projection(uuid, text, integer, boolean, bigint, integer, text, text, double precision, boolean, double precision, text, text, text); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.fail_projection(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_failed_position bigint, p_attempts integer, p_error text, p_kind text, p_waited_ms double precision, p_parked boolean, p_retry_in double precision, p_code text, p_message text, p_stack text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  update eventsourcing.projections p
  set attempts = p_attempts, failed_position = p_failed_position, error = p_error, failure_kind = p_kind,
    waited_ms = p_waited_ms, served_at = clock_timestamp(), parked = p_parked,
    retry_at = clock_timestamp() + p_retry_in * interval '1 millisecond'
  where p.tenant_id = p_tenant and p.projection = p_projection and p.version = p_version and p.rebuild = p_rebuild
    and p.position < p_failed_position;
  if p_message is not null then
    perform eventsourcing.keep_failure_cause(
      p_tenant, p_projection, p_version, p_rebuild, p_failed_position, p_kind, p_code, p_message, p_stack);
  end if;
end
$$;

ALTER FUNCTION eventsourcing.fail_projection(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_failed_position bigint, p_attempts integer, p_error text, p_kind text, p_waited_ms double precision, p_parked boolean, p_retry_in double precision, p_code text, p_message text, p_stack text) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION fail_projection(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_failed_position bigint, p_attempts integer, p_error text, p_kind text, p_waited_ms double precision, p_parked boolean, p_retry_in double precision, p_code text, p_message text, p_stack text); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.fail_projection(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_failed_position bigint, p_attempts integer, p_error text, p_kind text, p_waited_ms double precision, p_parked boolean, p_retry_in double precision, p_code text, p_message text, p_stack text) IS 'Records a failure: the event is retried later, or the projection is parked.';

--
-- Name: finish_rebuild(uuid, text, integer, bigint); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.finish_rebuild(p_tenant uuid, p_projection text, p_version integer, p_position bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  delete from eventsourcing.projections p
  where p.tenant_id = p_tenant and p.projection = p_projection and p.version = p_version and p.rebuild;
  update eventsourcing.projections p set parked = false, attempts = 0, failed_position = null, error = null, failure_kind = null,
    waited_ms = 0, retry_at = null, rebuilt = p.rebuilt + 1
  where p.tenant_id = p_tenant and p.projection = p_projection and p.version = p_version and not p.rebuild;
  perform eventsourcing.advance_projection(p_tenant, p_projection, p_version, false, p_position);
  delete from eventsourcing.dead_letters d
  where d.tenant_id = p_tenant and d.projection = p_projection and d.version = p_version and not d.rebuild;
  update eventsourcing.dead_letters d set rebuild = false
  where d.tenant_id = p_tenant and d.projection = p_projection and d.version = p_version and d.rebuild;
end
$$;

ALTER FUNCTION eventsourcing.finish_rebuild(p_tenant uuid, p_projection text, p_version integer, p_position bigint) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION finish_rebuild(p_tenant uuid, p_projection text, p_version integer, p_position bigint); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.finish_rebuild(p_tenant uuid, p_projection text, p_version integer, p_position bigint) IS 'Ends a rebuild: its checkpoint and its dead letters replace the live ones.';

--
-- Name: finish_shared_rebuild(uuid, text, integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

CREATE FUNCTION eventsourcing.finish_shared_rebuild(p_access uuid, p_projection text, p_version integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  update eventsourcing.projections p
  set position = r.position, head = greatest(p.head, r.head), served_at = clock_timestamp(), parked = false, attempts = 0,
    failed_position = null, error = null, failure_kind = null, waited_ms = 0, retry_at = null, rebuilt = p.rebuilt + 1
  from eventsourcing.projections r
  where p.projection = p_projection and p.version = p_version and not p.rebuild
    and r.tenant_id = p.tenant_id and r.projection = p_projection and r.version = p_version and r.rebuild;
  delete from eventsourcing.projections p where p.projection = p_projection and p.version = p_version and p.rebuild;
  delete from eventsourcing.dead_letters d where d.projection = p_projection and d.version = p_version and not d.rebuild;
  update eventsourcing.dead_letters d set rebuild = false
  where d.projection = p_projection and d.version = p_version and d.rebuild;
  update eventsourcing.projection_versions v set rebuilding = false, held_until = null
  where v.projection = p_projection and v.version = p_version;
end
$$;

ALTER FUNCTION eventsourcing.finish_shared_rebuild(p_access uuid, p_projection text, p_version integer) OWNER TO eventsourcing_runner_owner;

--
-- Name: FUNCTION finish_shared_rebuild(p_access uuid, p_projection text, p_version integer); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

COMMENT ON FUNCTION eventsourcing.finish_shared_rebuild(p_access uuid, p_projection text, p_version integer) IS 'Ends a rebuild of a read model that all tenants share: its checkpoints and dead letters replace the live ones.';

--
-- Name: forgotten_counts(text[]); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.forgotten_counts(p_tenants text[]) RETURNS integer[]
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
declare
  counts   integer[] := '{}';
  v_tenant uuid;
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
    v_tenant := set_config('eventsourcing.tenant_id', p_tenants[n], true);
    perform eventsourcing.require_visible(v_tenant);
    counts[n] := coalesce((select t.forgotten_subjects from eventsourcing.tenants t where t.tenant_id = v_tenant), 0);
  end loop;
  return counts;
end
$$;

ALTER FUNCTION eventsourcing.forgotten_counts(p_tenants text[]) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION forgotten_counts(p_tenants text[]); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.forgotten_counts(p_tenants text[]) IS 'For each of several tenants: its number of forgotten subjects.';

--
-- Name: forgotten_subjects(uuid, integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.forgotten_subjects(p_tenant uuid, p_after integer, OUT forgotten integer, OUT subjects jsonb) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  perform eventsourcing.require_visible(p_tenant);
  forgotten := coalesce((select t.forgotten_subjects from eventsourcing.tenants t where t.tenant_id = p_tenant), 0);
  subjects := (
    select coalesce(jsonb_agg(jsonb_build_object('number', s.number, 'subject', s.subject,
      'forgetting', s.forgotten -> 'forgetting', 'forgottenAt', s.forgotten -> 'forgottenAt',
      'allowedAgainAt', s.forgotten -> 'allowedAgainAt',
      'ended', s.begun is distinct from (s.forgotten ->> 'forgetting')::uuid) order by s.number), '[]')
    -- a later forgetting belongs to a later answer
    from eventsourcing.subjects s where s.tenant_id = p_tenant and s.number > p_after and s.number <= forgotten_subjects.forgotten);
end
$$;

ALTER FUNCTION eventsourcing.forgotten_subjects(p_tenant uuid, p_after integer, OUT forgotten integer, OUT subjects jsonb) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION forgotten_subjects(p_tenant uuid, p_after integer, OUT forgotten integer, OUT subjects jsonb); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.forgotten_subjects(p_tenant uuid, p_after integer, OUT forgotten integer, OUT subjects jsonb) IS 'The number of forgotten subjects of the tenant, and those after a number.';

--
-- Name: hash_chain_start(uuid); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.hash_chain_start(p_tenant uuid) RETURNS double precision
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  return (select t.chained_from from eventsourcing.tenants t where t.tenant_id = p_tenant);
end
$$;

ALTER FUNCTION eventsourcing.hash_chain_start(p_tenant uuid) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION hash_chain_start(p_tenant uuid); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.hash_chain_start(p_tenant uuid) IS 'The first position of the tenant''s log that carries a hash; NULL if none does.';

--
-- Name: hold_tenant(uuid, uuid, text); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

CREATE FUNCTION eventsourcing.hold_tenant(p_access uuid, p_tenant uuid, p_reason text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  perform eventsourcing.administer(p_access, p_tenant);
  update eventsourcing.tenants t
  set hold = case when p_reason is not null then jsonb_build_object(
    'actor', (select a.actor from eventsourcing.recorded_access(p_access) a), 'reason', p_reason,
    'heldAt', (extract(epoch from clock_timestamp()) * 1000)::bigint) end
  where t.tenant_id = p_tenant and t.status not in ('elsewhere', 'moved') and (t.status <> 'erased' or t.undertaking -> 'purging' is null);
  return case when not found then 'the tenant is not registered here, or some of its rows are erased' end;
end
$$;

ALTER FUNCTION eventsourcing.hold_tenant(p_access uuid, p_tenant uuid, p_reason text) OWNER TO eventsourcing_administrator_owner;

--
-- Name: FUNCTION hold_tenant(p_access uuid, p_tenant uuid, p_reason text); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

COMMENT ON FUNCTION eventsourcing.hold_tenant(p_access uuid, p_tenant uuid, p_reason text) IS 'Sets or releases the legal hold of a tenant.';

--
-- Name: hold_twins(text[]); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.hold_twins(p_tables text[]) RETURNS text
    LANGUAGE plpgsql
    AS $$
declare
  read_model pg_catalog.text;
begin
  foreach read_model in array p_tables loop
    if pg_catalog.to_regclass(pg_catalog.format('eventsourcing_rebuild.%I', read_model)) is not null then
      execute pg_catalog.format('lock table eventsourcing_rebuild.%I in row exclusive mode', read_model);
    end if;
  end loop;
  return eventsourcing.twins_of(p_tables);
end
$$;

ALTER FUNCTION eventsourcing.hold_twins(p_tables text[]) OWNER TO postgres;

--
-- Name: FUNCTION hold_twins(p_tables text[]); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.hold_twins(p_tables text[]) IS 'Keeps the twins of read models from being replaced during the transaction.';

--
-- Name: is_administered(); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

CREATE FUNCTION eventsourcing.is_administered() RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  perform eventsourcing.require_cross_tenant_access(nullif(current_setting('eventsourcing.administered', true), '')::uuid);
  return true;
exception when sqlstate 'ES004' or invalid_text_representation then
  return false;
end
$$;

ALTER FUNCTION eventsourcing.is_administered() OWNER TO eventsourcing_all_tenants_owner;

--
-- Name: FUNCTION is_administered(); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

COMMENT ON FUNCTION eventsourcing.is_administered() IS 'True if this transaction administers its tenant, under a recorded access.';

--
-- Name: isolation_problems(); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.isolation_problems() RETURNS TABLE(problem text, remedy text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $_$
  with recursive tenants_role (oid) as (
    select 'eventsourcing_tenant'::regrole::oid
  ), of_users as materialized (
    -- relations of the application on which work for a tenant has any right: its own, by membership, by column, or as public
    select c.oid, c.relkind, a.atttypid
    from pg_class c
    cross join tenants_role t
    left join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
    where c.relkind in ('r', 'p', 'f') and c.relpersistence <> 't'
      and c.relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
      and c.relnamespace not in (select n.oid from pg_namespace n where n.nspname in ('eventsourcing', 'eventsourcing_rebuild'))
      and (has_any_column_privilege(t.oid, c.oid, 'select, insert, update, references')
        or has_table_privilege(t.oid, c.oid, 'delete, truncate, trigger'))
  ), tenant_table (oid) as (
    select c.oid from pg_class c
    where c.relkind in ('r', 'p') and (
      c.relnamespace = 'eventsourcing'::regnamespace and c.relname <> 'schema_files'
      or c.relnamespace in (select n.oid from pg_namespace n where n.nspname = 'eventsourcing_rebuild'))
    union
    select p.polrelid from pg_policy p where p.polname in ('tenant_access', 'tenant_isolation')
    union
    select u.oid from of_users u where u.relkind <> 'f' and u.atttypid = 'uuid'::regtype
    union
    select i.inhrelid from tenant_table t join pg_inherits i on i.inhparent = t.oid join pg_class c on c.oid = i.inhrelid
    where c.relkind in ('r', 'p')
  ), protected as materialized (
    select c.oid, c.oid::regclass::text as name, c.relrowsecurity, c.relforcerowsecurity, c.relowner, c.relacl
    from tenant_table t join pg_class c on c.oid = t.oid
  ), of_tenants as materialized (
    select p.* from protected p
    where exists (select from pg_attribute a where a.attrelid = p.oid and a.attname = 'tenant_id' and not a.attisdropped)
  ), policy as materialized (
    select p.polrelid, p.polname, p.polpermissive, p.polcmd, p.polroles,
      pg_get_expr(p.polqual, p.polrelid) as qual, pg_get_expr(p.polwithcheck, p.polrelid) as with_check
    from pg_policy p
  ), bound as (
    select '(tenant_id = (NULLIF(current_setting(''eventsourcing.tenant_id''::text, true), ''''::text))::uuid)'::text as expression
  ), expected (name, permissive) as (
    values ('tenant_access', true), ('tenant_isolation', false)
  ), group_role (name, oid) as (
    select r.rolname, r.oid from pg_roles r
    where r.rolname in ('eventsourcing_tenant', 'eventsourcing_runner', 'eventsourcing_all_tenants',
      'eventsourcing_runner_owner', 'eventsourcing_all_tenants_owner', 'eventsourcing_administrator',
      'eventsourcing_administrator_owner')
  ), sees_all (oid) as (
    -- roles for which row-level security shows the rows of more than the bound tenant
    select r.oid from pg_roles r
    where r.rolsuper or r.rolbypassrls or pg_has_role(r.oid, 'eventsourcing_all_tenants_owner', 'usage')
      or pg_has_role(r.oid, 'eventsourcing_runner_owner', 'usage')
  ), view_on (oid, relkind, relowner, invoker, source) as materialized (
    select distinct v.oid, v.relkind, v.relowner, exists (
        select from pg_options_to_table(v.reloptions) x
        where x.option_name = 'security_invoker' and x.option_value::boolean), d.refobjid
    from pg_depend d
    join pg_rewrite w on w.oid = d.objid
    join pg_class v on v.oid = w.ev_class and v.relkind in ('v', 'm')
    where d.refclassid = 'pg_class'::regclass and d.classid = 'pg_rewrite'::regclass and d.refobjid <> v.oid
      and v.relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
  ), reading (oid, relkind, of_table, shows_all, below) as (
    -- shows_all: all readers see all rows; below: a view on which it is built shows all rows to its owner
    select v.oid, v.relkind, p.name, v.shows, v.shows
    from of_tenants p
    join view_on w on w.source = p.oid
    cross join lateral (
      select w.oid, w.relkind, w.relkind = 'm' or not w.invoker and w.relowner in (select s.oid from sees_all s)
    ) v (oid, relkind, shows)
    union
    select w.oid, w.relkind, r.of_table,
      w.relkind = 'm' or not w.invoker and (r.below or w.relowner in (select s.oid from sees_all s)),
      w.relkind = 'm' or r.below or not w.invoker and w.relowner in (select s.oid from sees_all s)
    from reading r
    join view_on w on w.source = r.oid
  ), at_callers_rights (name, searches) as (
    -- functions that run with the rights of their caller on purpose; searches: also with the search path of their caller,
    -- because they change the role or the search path, bind a tenant, or work on tables of the application. These qualify all
    -- names with a schema.
    values ('bind_tenant', true), ('require_visible', true), ('begin_tenant', true), ('begin_projection', true), ('begin_across_tenants', true),
      ('begin_reading', true), ('stream_log', true), ('clean_session', true), ('clear_rebuild', true), ('switch_rebuild', true), ('hold_twins', true),
      ('start_shared_rebuild', true), ('switch_shared_rebuild', true), ('cancel_shared_rebuild', true),
      ('schema_version', false), ('lowest_program', false), ('protect_tenant_table', false), ('open_table', false),
      ('create_committing', false), ('register_read_model', false), ('unregister_read_model', false),
      ('register_shared_read_model', false), ('read_model_name', false), ('renew_twins', false),
      ('isolation_problems', false), ('keys_without_tenant', false),
      ('tables_of_tenants', false), ('carried_key', false), ('declare_table', false),
      ('add_placement', false), ('name_database', false), ('admit_tenant', false), ('exclude_tenant', false)
  ), routine as (
    -- functions that run with the rights of their owner
    select p.oid, p.oid::regprocedure::text as name, p.proname, p.prosecdef, p.proowner, p.proconfig,
      case when p.proname in (
        'record_cross_tenant_access', 'require_cross_tenant_access', 'recorded_access', 'is_administered', 'unseen_tenants', 'list_tenants', 'read_all_logs',
        'set_tenant_status', 'list_accesses', 'record_operation', 'complete_operation', 'list_cross_tenant_accesses', 'usage', 'usage_position', 'place_tenant',
        'replace_placement', 'moving_tenants', 'tenant_overviews',
        'list_projection_failures', 'resume_projections',
        'remove_old_accesses'
      ) then 'eventsourcing_all_tenants_owner'
      when p.proname in (
        'announce', 'register_projection', 'claim_projection', 'other_work_waits', 'retire_projection', 'clear_retired_projections',
        'projection_retired', 'projection_backlog', 'projection_dead_letters', 'remove_expired_keys', 'register_inline_projection',
        'begin_shared_rebuild', 'prepare_shared_switch', 'park_shared_rebuild', 'finish_shared_rebuild', 'end_shared_rebuild', 'shared_rebuild_lag',
        'taken_table', 'tenants_beyond_share'
      ) then 'eventsourcing_runner_owner'
      when p.proname in (
        'administer', 'administered_tenant', 'administered_tables', 'tenant_under_import', 'change_tenant_state', 'read_raw_log', 'stream_raw_log',
        'write_events', 'read_tenant_rows', 'write_tenant_rows', 'read_tenant_table', 'write_tenant_table',
        'hold_tenant', 'change_subject', 'open_transactions', 'set_quota', 'define_plan', 'list_plans', 'end_expired_move'
      ) then 'eventsourcing_administrator_owner'
      -- only the owner of everything may remove events
      when p.proname = 'purge_tenant' then (
        select n.nspowner::regrole::text from pg_namespace n where n.nspname = 'eventsourcing')
      else 'eventsourcing_tenant' end as owner
    from pg_proc p
    where p.pronamespace = 'eventsourcing'::regnamespace and p.prokind = 'f'
      and p.proname not in (select c.name from at_callers_rights c)
  )
  -- first, because a table with such a key cannot be protected
  select k.problem, k.remedy
  from eventsourcing.keys_without_tenant((select array_agg(p.oid) from of_tenants p)) k
  union all
  select format('row-level security of %s is off', p.name), format('alter table %s enable row level security', p.name)
  from protected p where not p.relrowsecurity
  union all
  select format('row-level security of %s is not forced on its owner', p.name),
    format('alter table %s force row level security', p.name)
  from protected p where not p.relforcerowsecurity
  union all
  select format('policy %s of %s is missing or changed', e.name, p.name),
    format('select eventsourcing.protect_tenant_table(%L)', p.name)
  from of_tenants p cross join expected e cross join bound b
  where not exists (
    select from policy y
    where y.polrelid = p.oid and y.polname = e.name and y.polpermissive = e.permissive and y.polcmd = '*'
      and y.polroles = array['eventsourcing_tenant'::regrole::oid]
      and y.qual = b.expression and y.with_check = b.expression
  )
  union all
  select format('policy %s of %s lets more rows through', y.polname, p.name), format('drop policy %I on %s', y.polname, p.name)
  from of_tenants p join policy y on y.polrelid = p.oid
  where y.polpermissive and y.polname <> 'tenant_access'
    and not coalesce((
      select bool_and(g.name in ('eventsourcing_all_tenants', 'eventsourcing_all_tenants_owner')
        -- the runner finds work in these tables only; their readable columns are checked below
        or g.name = 'eventsourcing_runner_owner' and p.name in (
          'eventsourcing.tenants', 'eventsourcing.events', 'eventsourcing.projections', 'eventsourcing.command_keys',
          'eventsourcing.projection_failures', 'eventsourcing.dead_letters'))
      from unnest(y.polroles) r (role) left join group_role g on g.oid = r.role
    ), false)
  union all
  -- row-level security does not apply to truncate
  select distinct format('%s may be truncated by %s', p.name, r.name),
    format('revoke truncate on %s from %I, public', p.name, r.name)
  from protected p, aclexplode(p.relacl) g, group_role r
  where g.privilege_type = 'TRUNCATE' and g.grantee in (0, r.oid) 
  union all
  select distinct format('view %s shows all rows of %s to everybody', r.oid::regclass, r.of_table),
    case r.relkind when 'v' then format('alter view %s set (security_invoker = true)', r.oid::regclass)
      else format('revoke all on %s from eventsourcing_tenant, eventsourcing_runner, public', r.oid::regclass) end
  from reading r
  where r.shows_all and (has_any_column_privilege('eventsourcing_tenant', r.oid, 'select')
    or has_any_column_privilege('eventsourcing_runner', r.oid, 'select'))
  union all
  select format('function %s runs with the rights of %s, which sees the rows of all tenants, and eventsourcing_tenant may call it',
      f.oid::regprocedure, f.proowner::regrole),
    format('revoke execute on routine %s from eventsourcing_tenant, public', f.oid::regprocedure)
  from pg_proc f
  cross join tenants_role t
  where f.prosecdef and f.proowner in (select s.oid from sees_all s)
    and f.pronamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'eventsourcing'::regnamespace)
    and has_function_privilege(t.oid, f.oid, 'execute') and has_schema_privilege(t.oid, f.pronamespace, 'usage')
    -- functions of extensions do not know these tables
    and not exists (
      select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = f.oid and d.deptype = 'e')
  union all
  select format('tenant_id of %s is %s, but row-level security needs uuid', u.oid::regclass, format_type(u.atttypid, null)),
    format('do $do$ begin alter table %s alter column tenant_id type uuid using tenant_id::uuid; '
      'perform eventsourcing.protect_tenant_table(%L); end $do$', u.oid::regclass, u.oid::regclass)
  from of_users u where u.atttypid is not null and u.atttypid <> 'uuid'::regtype and u.relkind <> 'f'
  union all
  select format('foreign table %s has rows of tenants and no row-level security', u.oid::regclass),
    format('revoke all on %s from eventsourcing_tenant, public', u.oid::regclass)
  from of_users u where u.atttypid is not null and u.relkind = 'f'
  union all
  select format('role %s is %s', r.rolname, concat_ws(' and ',
      case when r.rolsuper then 'a superuser' end, case when r.rolbypassrls then 'exempt from row-level security' end,
      case when r.rolcanlogin then 'able to log in' end)),
    format('alter role %I nosuperuser nobypassrls nologin', r.rolname)
  from pg_roles r
  where r.oid in (select g.oid from group_role g) and (r.rolsuper or r.rolbypassrls or r.rolcanlogin)
  union all
  select format('role %s owns table %s', c.relowner::regrole, c.oid::regclass),
    format('alter table %s owner to %s', c.oid::regclass, n.nspowner::regrole)
  from pg_class c join pg_namespace n on n.nspname = 'eventsourcing'
  where c.relkind in ('r', 'p', 'f', 'v', 'm') and c.relpersistence <> 't' and c.relowner in (select g.oid from group_role g)
  union all
  select format('role %s is a member of %s', m.member::regrole, m.roleid::regrole),
    format('revoke %s from %s', m.roleid::regrole, m.member::regrole)
  from pg_auth_members m where m.member in (select g.oid from group_role g)
    and not (m.member = 'eventsourcing_administrator_owner'::regrole and m.roleid = 'eventsourcing_tenant'::regrole)
  union all
  -- a role that may create objects in one of these schemas can put its own in the place of others
  select format('role %s may create in schema %s', g.name, n.nspname),
    format('revoke create on schema %I from %I, public', n.nspname, g.name)
  from group_role g cross join pg_namespace n
  where n.nspname in ('eventsourcing', 'eventsourcing_rebuild') and has_schema_privilege(g.oid, n.oid, 'create')
  union all
  -- the runner itself reads nothing, and the owner of its functions only the columns that they need
  select format('role %s may read %s of %s', r.name, string_agg(a.attname, ', ' order by a.attnum), p.name),
    format('do $do$ begin revoke select on %s from %I, public;%s end $do$', p.name, r.name, case
      when r.name = 'eventsourcing_runner_owner' and p.name = 'eventsourcing.events'
        then ' grant select (tenant_id, position, recorded_at) on eventsourcing.events to eventsourcing_runner_owner;'
      when r.name = 'eventsourcing_runner_owner' and p.name = 'eventsourcing.tenants'
        then ' grant select (tenant_id) on eventsourcing.tenants to eventsourcing_runner_owner;'
      when r.name = 'eventsourcing_runner_owner' and p.name = 'eventsourcing.command_keys'
        then ' grant select (tenant_id, key, expires_at) on eventsourcing.command_keys to eventsourcing_runner_owner;'
      when r.name = 'eventsourcing_runner_owner' and p.name = 'eventsourcing.projection_failures'
        then ' grant select (projection, version) on eventsourcing.projection_failures to eventsourcing_runner_owner;'
      when r.name = 'eventsourcing_runner_owner' and p.name = 'eventsourcing.dead_letters'
        then ' grant select (projection, version, rebuild, failed_at) on eventsourcing.dead_letters to eventsourcing_runner_owner;' end)
  from protected p
  join pg_attribute a on a.attrelid = p.oid and a.attnum > 0 and not a.attisdropped
  cross join (values ('eventsourcing_runner'), ('eventsourcing_all_tenants'), ('eventsourcing_runner_owner')) r (name)
  where p.name like 'eventsourcing.%' and p.name <> 'eventsourcing.placements' and p.name <> 'eventsourcing.read_models'
    and not (r.name = 'eventsourcing_runner_owner' and (
      p.name in ('eventsourcing.projections', 'eventsourcing.projection_versions')
      or p.name in ('eventsourcing.events', 'eventsourcing.tenants') and a.attname = 'tenant_id'
      or p.name = 'eventsourcing.events' and a.attname in ('position', 'recorded_at')
      or p.name = 'eventsourcing.command_keys' and a.attname in ('tenant_id', 'key', 'expires_at')
      or p.name = 'eventsourcing.projection_failures' and a.attname in ('projection', 'version')
      or p.name = 'eventsourcing.dead_letters' and a.attname in ('projection', 'version', 'rebuild', 'failed_at')))
    and has_column_privilege(r.name, p.oid, a.attnum, 'select')
  group by p.name, r.name
  union all
  -- causes of failures may quote values of a handler
  select format('role eventsourcing_tenant may read %s of eventsourcing.projection_failures',
      string_agg(a.attname, ', ' order by a.attnum)),
    'do $do$ begin revoke select on eventsourcing.projection_failures from eventsourcing_tenant, public; '
      'grant select (tenant_id, projection, version, rebuild, position, times, last_at) on eventsourcing.projection_failures '
      'to eventsourcing_tenant; end $do$'
  from pg_attribute a
  where a.attrelid = 'eventsourcing.projection_failures'::regclass and a.attname in ('code', 'message', 'stack')
    and has_column_privilege('eventsourcing_tenant', a.attrelid, a.attnum, 'select')
  having count(*) > 0
  union all
  select distinct format('%s can be changed or removed by %s', case c.relname when 'events' then 'events' when 'event_tags' then 'tags' else 'blocks' end, g.name),
    format('revoke update, delete, truncate on eventsourcing.%I from %s', c.relname, g.name)
  from pg_class c
  cross join lateral (
    select a.grantee, a.privilege_type from aclexplode(c.relacl) a
    union all
    select a.grantee, a.privilege_type from pg_attribute t, aclexplode(t.attacl) a where t.attrelid = c.oid
  ) a
  cross join lateral (select case a.grantee when 0 then 'public' else a.grantee::regrole::text end as name) g
  where c.oid in ('eventsourcing.events'::regclass, 'eventsourcing.event_tags'::regclass, 'eventsourcing.event_blocks'::regclass)
    and a.grantee <> c.relowner
    and a.privilege_type in ('UPDATE', 'DELETE', 'TRUNCATE')
  union all
  select format('function %s runs with the rights of its caller', r.name), format('alter function %s security definer', r.name)
  from routine r where not r.prosecdef
  union all
  select format('function %s is owned by %s', r.name, r.proowner::regrole),
    format('alter function %s owner to %I', r.name, r.owner)
  from routine r where r.proowner <> r.owner::regrole
  union all
  select format('function %s has no fixed search path', r.name),
    format('alter function %s set search_path = pg_catalog, pg_temp', r.name)
  from routine r where not coalesce(r.proconfig @> array['search_path=pg_catalog, pg_temp'], false)
  union all
  select format('function %s runs with the rights of its owner', p.oid::regprocedure),
    format('alter function %s security invoker', p.oid::regprocedure)
  from pg_proc p join at_callers_rights c on c.name = p.proname
  where p.pronamespace = 'eventsourcing'::regnamespace and p.prosecdef
  union all
  select format('function %s has no fixed search path', p.oid::regprocedure),
    format('alter function %s set search_path = pg_catalog, pg_temp', p.oid::regprocedure)
  from pg_proc p join at_callers_rights c on c.name = p.proname
  where p.pronamespace = 'eventsourcing'::regnamespace and not c.searches
    and not coalesce(p.proconfig @> array['search_path=pg_catalog, pg_temp'], false)
  union all
  select format('function %s, which looks across tenants, may be called by eventsourcing_tenant', r.name),
    format('revoke execute on function %s from eventsourcing_tenant, public', r.name)
  from routine r
  -- announce returns only tenants to announce again, and projections belong to the application; end_expired_move binds its tenant
  where r.owner <> 'eventsourcing_tenant' and r.proname not in ('announce', 'projection_retired', 'register_inline_projection', 'is_administered', 'end_expired_move')
    and has_function_privilege('eventsourcing_tenant', r.oid, 'execute')
  union all
  select format('function %s may be called by eventsourcing_runner, which must not see events', p.oid::regprocedure),
    format('revoke execute on function %s from eventsourcing_runner, public', p.oid::regprocedure)
  from pg_proc p
  where p.pronamespace = 'eventsourcing'::regnamespace and p.prokind = 'f' and p.proname not in (
      'announce', 'register_projection', 'claim_projection', 'other_work_waits', 'projection_backlog', 'projection_dead_letters', 'remove_expired_keys',
      'begin_projection', 'bind_tenant',
      'schema_version', 'lowest_program', 'clean_session')
    and has_function_privilege('eventsourcing_runner', p.oid, 'execute')
$_$;

ALTER FUNCTION eventsourcing.isolation_problems() OWNER TO postgres;

--
-- Name: FUNCTION isolation_problems(); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.isolation_problems() IS 'Problems in the isolation of tenants, each with a remedy.';

--
-- Name: keep_failure_cause(uuid, text, integer, boolean, bigint, text, text, text, text); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.keep_failure_cause(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_position bigint, p_kind text, p_code text, p_message text, p_stack text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  insert into eventsourcing.projection_failures as f
    (tenant_id, projection, version, rebuild, position, kind, code, message, stack, times, first_at, last_at)
  values (p_tenant, p_projection, p_version, p_rebuild, p_position, p_kind, left(p_code, 100), left(p_message, 4000),
    left(p_stack, 10000), 1, clock_timestamp(), clock_timestamp())
  on conflict (tenant_id, projection, version, rebuild, position) do update
    set kind = p_kind, code = left(p_code, 100), message = left(p_message, 4000), stack = left(p_stack, 10000),
      times = f.times + 1, last_at = clock_timestamp();
  delete from eventsourcing.projection_failures f
  where f.tenant_id = p_tenant and f.projection = p_projection and f.version = p_version and f.rebuild = p_rebuild
    and f.position in (
      select o.position from eventsourcing.projection_failures o
      where o.tenant_id = p_tenant and o.projection = p_projection and o.version = p_version and o.rebuild = p_rebuild
      order by o.last_at desc, o.position desc offset 100);
end
$$;

ALTER FUNCTION eventsourcing.keep_failure_cause(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_position bigint, p_kind text, p_code text, p_message text, p_stack text) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION keep_failure_cause(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_position bigint, p_kind text, p_code text, p_message text, p_stack text); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.keep_failure_cause(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_position bigint, p_kind text, p_code text, p_message text, p_stack text) IS 'Keeps the cause of a projection''s failure, for operators.';

--
-- Name: keys_without_tenant(oid[]); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.keys_without_tenant(p_tables oid[]) RETURNS TABLE(of_table oid, problem text, remedy text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $_$
  with tenant_column (relid, attnum) as materialized (
    select a.attrelid, a.attnum from pg_attribute a where a.attname = 'tenant_id' and not a.attisdropped
  ), foreign_key as (
    select c.conname, c.conrelid, c.confrelid, c.conkey, c.confkey, pg_get_constraintdef(c.oid) as definition
    from pg_constraint c
    where c.contype = 'f' and c.conparentid = 0 and (c.conrelid = any (p_tables) or c.confrelid = any (p_tables))
  )
  select f.conrelid, format('foreign key %I of %s refers to %s without the tenant', f.conname, f.conrelid::regclass,
      f.confrelid::regclass),
    case when r.attnum is null then format('alter table %s drop constraint %I', f.conrelid::regclass, f.conname)
    else format('alter table %s drop constraint %I, add constraint %I %s', f.conrelid::regclass, f.conname, f.conname,
      regexp_replace(regexp_replace(f.definition, 'FOREIGN KEY \(', 'FOREIGN KEY (tenant_id, '),
        '(REFERENCES [^(]+)\(', '\1(tenant_id, ')) end
  from foreign_key f
  left join tenant_column r on r.relid = f.conrelid
  join tenant_column t on t.relid = f.confrelid
  where not exists (
    select from generate_subscripts(f.conkey, 1) i where f.conkey[i] = r.attnum and f.confkey[i] = t.attnum
  )
  union all
  select i.indrelid, format('key %s of %s leaves out the tenant', i.indexrelid::regclass, i.indrelid::regclass),
    case when c.conname is null
      then format('do $do$ begin drop index %s; %s; end $do$', i.indexrelid::regclass,
        regexp_replace(pg_get_indexdef(i.indexrelid), 'USING (\w+) \(', 'USING \1 (tenant_id, '))
      else format('alter table %s drop constraint %I, add constraint %I %s', i.indrelid::regclass, c.conname, c.conname,
        regexp_replace(pg_get_constraintdef(c.oid), '\(', case when i.indisexclusion then '(tenant_id WITH =, '
          else '(tenant_id, ' end)) end
  from pg_index i
  join tenant_column t on t.relid = i.indrelid
  left join pg_constraint c on c.conindid = i.indexrelid and c.conrelid = i.indrelid and c.contype in ('p', 'u', 'x')
  where i.indrelid = any (p_tables) and (i.indisunique or i.indisexclusion)
    and t.attnum <> all ((i.indkey::int2[])[0:i.indnkeyatts - 1])
    and not exists (select from pg_inherits h where h.inhrelid = i.indexrelid)
$_$;

ALTER FUNCTION eventsourcing.keys_without_tenant(p_tables oid[]) OWNER TO postgres;

--
-- Name: FUNCTION keys_without_tenant(p_tables oid[]); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.keys_without_tenant(p_tables oid[]) IS 'Keys and foreign keys of tables that leave out the tenant, with the statements that repair them.';

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: cross_tenant_accesses; Type: TABLE; Schema: eventsourcing; Owner: postgres
--

CREATE TABLE eventsourcing.cross_tenant_accesses (
    access_id uuid NOT NULL,
    accessed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    operation text NOT NULL,
    login text NOT NULL,
    parameters jsonb,
    completed_at timestamp with time zone,
    outcome jsonb,
    CONSTRAINT cross_tenant_accesses_actor_check CHECK ((actor <> ''::text)),
    CONSTRAINT cross_tenant_accesses_outcome_check CHECK ((((completed_at IS NULL) = (outcome IS NULL)) AND ((outcome IS NULL) OR (parameters IS NOT NULL)))),
    CONSTRAINT cross_tenant_accesses_reason_check CHECK ((reason <> ''::text))
);

ALTER TABLE ONLY eventsourcing.cross_tenant_accesses FORCE ROW LEVEL SECURITY;

ALTER TABLE eventsourcing.cross_tenant_accesses OWNER TO postgres;

--
-- Name: TABLE cross_tenant_accesses; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON TABLE eventsourcing.cross_tenant_accesses IS 'Audit trail of accesses across tenants: actor, reason and operation.';

--
-- Name: COLUMN cross_tenant_accesses.login; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.cross_tenant_accesses.login IS 'The login role of the session, independent of the stated actor.';

--
-- Name: COLUMN cross_tenant_accesses.parameters; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.cross_tenant_accesses.parameters IS 'The parameters of an operation, without secrets and payloads; NULL for a look.';

--
-- Name: COLUMN cross_tenant_accesses.outcome; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.cross_tenant_accesses.outcome IS 'The outcome of an operation, recorded once; NULL while it runs, and after its process was killed.';

--
-- Name: list_accesses(uuid, text, uuid, integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

CREATE FUNCTION eventsourcing.list_accesses(p_access uuid, p_operation text, p_before uuid, p_limit integer) RETURNS SETOF eventsourcing.cross_tenant_accesses
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  if p_operation is null then
    return query
      select a.* from eventsourcing.cross_tenant_accesses a
      where a.access_id < coalesce(p_before, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
      order by a.access_id desc
      limit p_limit;
  else
    return query
      select a.* from eventsourcing.cross_tenant_accesses a
      where a.parameters is not null and a.operation collate "C" = p_operation
        and a.access_id < coalesce(p_before, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
      order by a.access_id desc
      limit p_limit;
  end if;
end
$$;

ALTER FUNCTION eventsourcing.list_accesses(p_access uuid, p_operation text, p_before uuid, p_limit integer) OWNER TO eventsourcing_all_tenants_owner;

--
-- Name: FUNCTION list_accesses(p_access uuid, p_operation text, p_before uuid, p_limit integer); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

COMMENT ON FUNCTION eventsourcing.list_accesses(p_access uuid, p_operation text, p_before uuid, p_limit integer) IS 'The audit trail of accesses across tenants and of operations, newest first.';

--
-- Name: list_cross_tenant_accesses(uuid, uuid, integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

CREATE FUNCTION eventsourcing.list_cross_tenant_accesses(p_access uuid, p_before uuid, p_limit integer) RETURNS SETOF eventsourcing.cross_tenant_accesses
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
begin
  return query select a.* from eventsourcing.list_accesses(p_access, null, p_before, p_limit) a;
end
$$;

ALTER FUNCTION eventsourcing.list_cross_tenant_accesses(p_access uuid, p_before uuid, p_limit integer) OWNER TO eventsourcing_all_tenants_owner;

--
-- Name: FUNCTION list_cross_tenant_accesses(p_access uuid, p_before uuid, p_limit integer); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

COMMENT ON FUNCTION eventsourcing.list_cross_tenant_accesses(p_access uuid, p_before uuid, p_limit integer) IS 'The audit trail of cross-tenant accesses, newest first.';

--
-- Name: list_dead_letters(uuid, text, integer, bigint, integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.list_dead_letters(p_tenant uuid, p_projection text, p_version integer, p_after bigint, p_limit integer) RETURNS TABLE("position" double precision, event_id uuid, error text, attempts integer, failed_at timestamp with time zone)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
begin
  perform eventsourcing.bind_tenant(p_tenant);
  return query
    select d.position::double precision, d.event_id, d.error, d.attempts, d.failed_at
    from eventsourcing.dead_letters d
    where d.tenant_id = p_tenant and d.projection = p_projection and d.version = p_version and not d.rebuild
      and d.position > p_after
    order by d.position
    limit p_limit;
end
$$;

ALTER FUNCTION eventsourcing.list_dead_letters(p_tenant uuid, p_projection text, p_version integer, p_after bigint, p_limit integer) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION list_dead_letters(p_tenant uuid, p_projection text, p_version integer, p_after bigint, p_limit integer); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.list_dead_letters(p_tenant uuid, p_projection text, p_version integer, p_after bigint, p_limit integer) IS 'One page of the dead letters of a projection and tenant.';

--
-- Name: list_placements(); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.list_placements() RETURNS TABLE(placement text, here boolean, dedicated boolean, closed boolean)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
  select p.placement, p.here, p.dedicated,
    not has_column_privilege('eventsourcing_tenant', 'eventsourcing.tenants', 'tenant_id', 'insert')
  from eventsourcing.placements p order by p.placement
$$;

ALTER FUNCTION eventsourcing.list_placements() OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION list_placements(); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.list_placements() IS 'The databases in which tenants can be placed, with a mark on this one.';

--
-- Name: list_plans(uuid); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

CREATE FUNCTION eventsourcing.list_plans(p_access uuid) RETURNS TABLE(name text, limits jsonb)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  return query select p.name, p.limits from eventsourcing.plans p order by p.name;
end
$$;

ALTER FUNCTION eventsourcing.list_plans(p_access uuid) OWNER TO eventsourcing_administrator_owner;

--
-- Name: FUNCTION list_plans(p_access uuid); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

COMMENT ON FUNCTION eventsourcing.list_plans(p_access uuid) IS 'The plans for the quotas of tenants, ordered by name.';

--
-- Name: list_projection_failures(uuid, uuid, text, integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

CREATE FUNCTION eventsourcing.list_projection_failures(p_access uuid, p_tenant uuid, p_projection text, p_version integer) RETURNS TABLE(rebuild boolean, "position" double precision, kind text, code text, message text, stack text, times integer, first_at timestamp with time zone, last_at timestamp with time zone)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  return query
    select f.rebuild, f.position::double precision, f.kind, f.code, f.message, f.stack, f.times, f.first_at, f.last_at
    from eventsourcing.projection_failures f
    where f.tenant_id = p_tenant and f.projection = p_projection and f.version = p_version
    order by f.last_at desc, f.rebuild, f.position desc;
end
$$;

ALTER FUNCTION eventsourcing.list_projection_failures(p_access uuid, p_tenant uuid, p_projection text, p_version integer) OWNER TO eventsourcing_all_tenants_owner;

--
-- Name: FUNCTION list_projection_failures(p_access uuid, p_tenant uuid, p_projection text, p_version integer); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

COMMENT ON FUNCTION eventsourcing.list_projection_failures(p_access uuid, p_tenant uuid, p_projection text, p_version integer) IS 'The causes of failures of a projection for a tenant, for operators.';

--
-- Name: list_streams(uuid, text, text, text, integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.list_streams(p_tenant uuid, p_aggregate_type text, p_after_type text, p_after_id text, p_limit integer) RETURNS TABLE(aggregate_type text, aggregate_id text, version integer)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_sort TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
#variable_conflict use_column
declare
  last_type text := coalesce(p_after_type, '');
  last_id   text := coalesce(p_after_id, '');
  found_    record;
begin
  perform eventsourcing.bind_tenant(p_tenant);
  perform eventsourcing.require_visible(p_tenant);
  if p_aggregate_type > last_type collate "C" then
    last_type := p_aggregate_type;
    last_id := '';
  end if;
  for n in 1 .. p_limit loop
    select e.aggregate_type, e.aggregate_id into found_
    from eventsourcing.events e
    where e.tenant_id = p_tenant and (e.aggregate_type, e.aggregate_id) > (last_type, last_id)
      and (p_aggregate_type is null or e.aggregate_type <= p_aggregate_type)
    order by e.tenant_id, e.aggregate_type, e.aggregate_id, e.version limit 1;
    exit when not found or found_.aggregate_type <> p_aggregate_type;
    last_type := found_.aggregate_type;
    last_id := found_.aggregate_id;
    return query
      select last_type, last_id, e.version from eventsourcing.events e
      where e.tenant_id = p_tenant and e.aggregate_type = last_type and e.aggregate_id = last_id
      order by e.version desc limit 1;
  end loop;
end
$$;

ALTER FUNCTION eventsourcing.list_streams(p_tenant uuid, p_aggregate_type text, p_after_type text, p_after_id text, p_limit integer) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION list_streams(p_tenant uuid, p_aggregate_type text, p_after_type text, p_after_id text, p_limit integer); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.list_streams(p_tenant uuid, p_aggregate_type text, p_after_type text, p_after_id text, p_limit integer) IS 'A page of the tenant''s streams, with their versions.';

--
-- Name: list_tenants(uuid, uuid, integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

CREATE FUNCTION eventsourcing.list_tenants(p_access uuid, p_after uuid, p_limit integer) RETURNS TABLE(tenant_id uuid, status text, created_at timestamp with time zone, "position" double precision)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
#variable_conflict use_column
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  return query
    select t.tenant_id, t.status, t.created_at,
      coalesce((select e.position from eventsourcing.events e where e.tenant_id = t.tenant_id
                order by e.position desc limit 1), 0)::double precision
    from eventsourcing.tenants t
    where t.tenant_id >= coalesce(p_after, '00000000-0000-0000-0000-000000000000') and t.tenant_id is distinct from p_after
      and t.status in ('active', 'suspended', 'moving')
    order by t.tenant_id
    limit p_limit;
end
$$;

ALTER FUNCTION eventsourcing.list_tenants(p_access uuid, p_after uuid, p_limit integer) OWNER TO eventsourcing_all_tenants_owner;

--
-- Name: FUNCTION list_tenants(p_access uuid, p_after uuid, p_limit integer); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

COMMENT ON FUNCTION eventsourcing.list_tenants(p_access uuid, p_after uuid, p_limit integer) IS 'One page of the tenants with the last positions of their logs.';

--
-- Name: live_writes(text[]); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.live_writes(p_tables text[]) RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
  select coalesce(sum(pg_stat_get_xact_tuples_inserted(written.relation) + pg_stat_get_xact_tuples_updated(written.relation)
    + pg_stat_get_xact_tuples_deleted(written.relation)), 0)::bigint
  from eventsourcing.read_models m
  join pg_class c on c.relname = m.name::name
  join pg_namespace n on n.oid = c.relnamespace and format('%I.%I', n.nspname, c.relname) = m.live_table
  cross join lateral (
    select c.oid union select t.relid from pg_partition_tree(c.oid) t
  ) written (relation)
  where m.name = any (p_tables)
$$;

ALTER FUNCTION eventsourcing.live_writes(p_tables text[]) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION live_writes(p_tables text[]); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.live_writes(p_tables text[]) IS 'Number of rows of live read models that the session has written and not yet reported to the statistics.';

--
-- Name: load_snapshot(uuid, text, text); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.load_snapshot(p_tenant uuid, p_aggregate_type text, p_aggregate_id text) RETURNS TABLE(version integer, "position" double precision, event_id uuid, recorded_at timestamp with time zone, state_version integer, fingerprint text, checksum text, state text, taken_at timestamp with time zone)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
#variable_conflict use_column
begin
  perform eventsourcing.bind_tenant(p_tenant);
  perform eventsourcing.require_visible(p_tenant);
  return query
    select s.version, s.position::double precision, s.event_id, s.recorded_at, s.state_version, s.fingerprint, s.checksum,
      s.state, s.taken_at
    from eventsourcing.snapshots s
    where s.tenant_id = p_tenant and s.aggregate_type = p_aggregate_type and s.aggregate_id = p_aggregate_id;
end
$$;

ALTER FUNCTION eventsourcing.load_snapshot(p_tenant uuid, p_aggregate_type text, p_aggregate_id text) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION load_snapshot(p_tenant uuid, p_aggregate_type text, p_aggregate_id text); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.load_snapshot(p_tenant uuid, p_aggregate_type text, p_aggregate_id text) IS 'The snapshot of a stream of the tenant; no row if there is none.';

--
-- Name: load_streams(text[], text[], text[], integer[], integer[], integer[], bigint); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.load_streams(p_tenants text[], p_aggregate_types text[], p_aggregate_ids text[], p_from integer[], p_to integer[], p_limits integer[], p_max_bytes bigint) RETURNS SETOF eventsourcing.event_chunk
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_sort TO 'off'
    AS $$
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

ALTER FUNCTION eventsourcing.load_streams(p_tenants text[], p_aggregate_types text[], p_aggregate_ids text[], p_from integer[], p_to integer[], p_limits integer[], p_max_bytes bigint) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION load_streams(p_tenants text[], p_aggregate_types text[], p_aggregate_ids text[], p_from integer[], p_to integer[], p_limits integer[], p_max_bytes bigint); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.load_streams(p_tenants text[], p_aggregate_types text[], p_aggregate_ids text[], p_from integer[], p_to integer[], p_limits integer[], p_max_bytes bigint) IS 'The parts of events that a fold needs, of one or several streams, in chunks.';

--
-- Name: lock_live_projection(uuid, text, integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.lock_live_projection(p_tenant uuid, p_projection text, p_version integer) RETURNS double precision
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  insert into eventsourcing.projections (tenant_id, projection, version, rebuild)
  values (p_tenant, p_projection, p_version, false) on conflict do nothing;
  return (
    select p.position::double precision from eventsourcing.projections p
    where p.tenant_id = p_tenant and p.projection = p_projection and p.version = p_version and not p.rebuild
    for update);
end
$$;

ALTER FUNCTION eventsourcing.lock_live_projection(p_tenant uuid, p_projection text, p_version integer) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION lock_live_projection(p_tenant uuid, p_projection text, p_version integer); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.lock_live_projection(p_tenant uuid, p_projection text, p_version integer) IS 'Stops changes to the live read model before a rebuild replaces it.';

--
-- Name: log_head(uuid, bigint); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.log_head(p_tenant uuid, p_at bigint, OUT "position" double precision, OUT event_id text, OUT event_id_at text) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  perform eventsourcing.require_visible(p_tenant);
  select e.position, e.event_id into "position", event_id
  from eventsourcing.events e where e.tenant_id = p_tenant order by e.position desc limit 1;
  "position" := coalesce("position", 0);
  if p_at is not null then
    event_id_at := (select e.event_id from eventsourcing.events e where e.tenant_id = p_tenant and e.position = p_at);
  end if;
end
$$;

ALTER FUNCTION eventsourcing.log_head(p_tenant uuid, p_at bigint, OUT "position" double precision, OUT event_id text, OUT event_id_at text) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION log_head(p_tenant uuid, p_at bigint, OUT "position" double precision, OUT event_id text, OUT event_id_at text); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.log_head(p_tenant uuid, p_at bigint, OUT "position" double precision, OUT event_id text, OUT event_id_at text) IS 'The end of the tenant''s log, and the id of the event at a position.';

--
-- Name: lowest_program(); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.lowest_program() RETURNS integer
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$select 1$$;

ALTER FUNCTION eventsourcing.lowest_program() OWNER TO postgres;

--
-- Name: FUNCTION lowest_program(); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.lowest_program() IS 'The lowest schema number of a program that may use this schema.';

--
-- Name: matching_positions(uuid, jsonb, bigint, bigint, text[], text[], boolean, integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.matching_positions(p_tenant uuid, p_query jsonb, p_from bigint, p_to bigint, p_aggregate_types text[], p_event_types text[], p_backwards boolean, p_limit integer) RETURNS bigint[]
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_sort TO 'off'
    AS $$
declare
  item   jsonb;
  owners text[]; -- aggregate types
  types_ text[];
  tags_  text[];
  id_    text;
  root   text; -- correlation id
  other  text;
  rarest text;
  edge   bigint;
  count_ bigint;
  least_ bigint;
  found_ bigint[];
  all_   bigint[] := '{}';
begin
  perform eventsourcing.bind_tenant(p_tenant);
  for item in select q.value from jsonb_array_elements(p_query) q loop
    types_ := case when jsonb_typeof(item -> 'types') = 'array'
      then array(select t.value from jsonb_array_elements_text(item -> 'types') t) end;
    if types_ is null then
      types_ := p_event_types;
    elsif p_event_types is not null then
      types_ := array(select t from unnest(types_) t where t = any (p_event_types));
    end if;
    owners := p_aggregate_types;
    if item ->> 'aggregate_type' is not null then
      continue when item ->> 'aggregate_type' <> all (p_aggregate_types);
      owners := array[item ->> 'aggregate_type'];
    end if;
    tags_ := array(select t.value from jsonb_array_elements_text(item -> 'tags') t);
    continue when cardinality(types_) = 0;
    id_ := item ->> 'aggregate_id';
    root := item ->> 'correlation_id';

    if id_ is not null or root is not null then
      -- no append looks for ids: an index on them would cost every append
      if p_backwards then
        found_ := array(
          select e.position from eventsourcing.events e
          where e.tenant_id = p_tenant and e.position between p_from and p_to
            and (id_ is null or e.aggregate_id = id_) and (root is null or e.correlation_id = root)
            and (types_ is null or e.event_type = any (types_)) and (owners is null or e.aggregate_type = any (owners))
            and (cardinality(tags_) = 0 or e.tags @> tags_)
          order by e.position desc limit p_limit);
      else
        found_ := array(
          select e.position from eventsourcing.events e
          where e.tenant_id = p_tenant and e.position between p_from and p_to
            and (id_ is null or e.aggregate_id = id_) and (root is null or e.correlation_id = root)
            and (types_ is null or e.event_type = any (types_)) and (owners is null or e.aggregate_type = any (owners))
            and (cardinality(tags_) = 0 or e.tags @> tags_)
          order by e.position limit p_limit);
      end if;
    elsif cardinality(tags_) = 0 then
      if p_backwards then
        found_ := eventsourcing.positions_of_types(p_tenant, types_, owners, p_from, p_to, true, p_limit);
      else
        -- most often the events are near, or the range is small
        edge := least(p_to, p_from + 127);
        found_ := array(
          select e.position from eventsourcing.events e
          where e.tenant_id = p_tenant and e.position between p_from and edge
            and (types_ is null or e.event_type = any (types_))
            and (owners is null or e.aggregate_type = any (owners))
          order by e.position limit p_limit);
        if cardinality(found_) < p_limit and p_to > edge then
          found_ := found_ || eventsourcing.positions_of_types(
            p_tenant, types_, owners, edge + 1, p_to, false, p_limit - cardinality(found_));
        end if;
      end if;
    else
      rarest := tags_[1];
      if cardinality(tags_) > 1 then
        least_ := null;
        foreach other in array tags_ loop
          -- counting more than 1,000 would cost more than it saves
          count_ := (
            select count(*) from (
              select from eventsourcing.event_tags t
              where t.tenant_id = p_tenant and t.tag = other and t.position between p_from and p_to
              limit 1000
            ) counted);
          if least_ is null or count_ < least_ then
            least_ := count_;
            rarest := other;
          end if;
        end loop;
        continue when least_ = 0;
      end if;
      if p_backwards then
        found_ := array(
          select t.position from eventsourcing.event_tags t
          where t.tenant_id = p_tenant and t.tag = rarest and t.position between p_from and p_to
            and (types_ is null or t.event_type = any (types_))
            and (cardinality(tags_) = 1 and owners is null or (
              select e.tags @> tags_ and (owners is null or e.aggregate_type = any (owners))
              from eventsourcing.events e
              where e.tenant_id = p_tenant and e.position between t.position and t.position
              order by e.position limit 1))
          order by t.position desc limit p_limit);
      else
        found_ := array(
          select t.position from eventsourcing.event_tags t
          where t.tenant_id = p_tenant and t.tag = rarest and t.position between p_from and p_to
            and (types_ is null or t.event_type = any (types_))
            and (cardinality(tags_) = 1 and owners is null or (
              select e.tags @> tags_ and (owners is null or e.aggregate_type = any (owners))
              from eventsourcing.events e
              where e.tenant_id = p_tenant and e.position between t.position and t.position
              order by e.position limit 1))
          order by t.position limit p_limit);
      end if;
    end if;
    all_ := all_ || found_;
  end loop;
  if p_backwards then
    return array(select distinct u.position from unnest(all_) u (position) order by u.position desc limit p_limit);
  else
    return array(select distinct u.position from unnest(all_) u (position) order by u.position limit p_limit);
  end if;
end
$$;

ALTER FUNCTION eventsourcing.matching_positions(p_tenant uuid, p_query jsonb, p_from bigint, p_to bigint, p_aggregate_types text[], p_event_types text[], p_backwards boolean, p_limit integer) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION matching_positions(p_tenant uuid, p_query jsonb, p_from bigint, p_to bigint, p_aggregate_types text[], p_event_types text[], p_backwards boolean, p_limit integer); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.matching_positions(p_tenant uuid, p_query jsonb, p_from bigint, p_to bigint, p_aggregate_types text[], p_event_types text[], p_backwards boolean, p_limit integer) IS 'Positions of the first events of the tenant''s log that match a query.';

--
-- Name: moved_to(uuid); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.moved_to(p_tenant uuid) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  return (
    select t.undertaking ->> 'to' from eventsourcing.tenants t where t.tenant_id = p_tenant and t.status = 'moved');
end
$$;

ALTER FUNCTION eventsourcing.moved_to(p_tenant uuid) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION moved_to(p_tenant uuid); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.moved_to(p_tenant uuid) IS 'The placement to which the tenant has moved.';

--
-- Name: moving_tenants(uuid); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

CREATE FUNCTION eventsourcing.moving_tenants(p_access uuid) RETURNS SETOF uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  return query
    -- the index of the tenants that no work sees
    select t.tenant_id from eventsourcing.tenants t
    where t.status in ('importing', 'moving', 'moved', 'erased')
      and (t.status = 'moving' or t.status = 'importing' and t.undertaking -> 'move' is not null
        or t.status = 'moved' and t.undertaking -> 'purged' is null)
    order by t.tenant_id;
end
$$;

ALTER FUNCTION eventsourcing.moving_tenants(p_access uuid) OWNER TO eventsourcing_all_tenants_owner;

--
-- Name: FUNCTION moving_tenants(p_access uuid); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

COMMENT ON FUNCTION eventsourcing.moving_tenants(p_access uuid) IS 'The tenants with an unfinished move from or to this database.';

--
-- Name: name_database(text, boolean); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.name_database(p_placement text, p_dedicated boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
declare
  known text;
begin
  -- Locked, because two sessions that grant and revoke at once fail with "tuple concurrently updated".
  lock table eventsourcing.placements in share row exclusive mode;
  known := (select p.placement from eventsourcing.placements p where p.here);
  if known <> p_placement then
    raise exception 'this database is the placement %, not %', known, p_placement
      using hint = 'check the connection settings of the placement';
  end if;
  insert into eventsourcing.placements as p (placement, here, dedicated) values (p_placement, true, p_dedicated)
  on conflict (placement) do update set here = true, dedicated = excluded.dedicated;
  if p_dedicated then
    revoke insert (tenant_id) on eventsourcing.tenants from eventsourcing_tenant;
  else
    grant insert (tenant_id) on eventsourcing.tenants to eventsourcing_tenant;
  end if;
end
$$;

ALTER FUNCTION eventsourcing.name_database(p_placement text, p_dedicated boolean) OWNER TO postgres;

--
-- Name: FUNCTION name_database(p_placement text, p_dedicated boolean); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.name_database(p_placement text, p_dedicated boolean) IS 'Names a database after its placement. A dedicated one accepts only admitted tenants.';

--
-- Name: open_table(regclass, text, text, text); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.open_table(target regclass, policy text, command text, grantee text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  if exists (select from pg_class where oid = target and not (relrowsecurity and relforcerowsecurity)) then
    execute format('alter table %s enable row level security', target);
    execute format('alter table %s force row level security', target);
  end if;
  if not exists (
    select from pg_policy p
    where p.polrelid = target and p.polname = policy and p.polpermissive
      and p.polcmd = case command when 'all' then '*' when 'select' then 'r' when 'update' then 'w' end
      and p.polroles = array[case grantee when 'public' then 0 else grantee::regrole::oid end]
      and pg_get_expr(p.polqual, target) = 'true'
      and pg_get_expr(p.polwithcheck, target) is not distinct from case command when 'all' then 'true' end
  ) then
    execute format('drop policy if exists %I on %s', policy, target);
    execute format('create policy %I on %s for %s to %s using (true)%s', policy, target, command,
      case grantee when 'public' then 'public' else quote_ident(grantee) end,
      case command when 'all' then ' with check (true)' else '' end);
  end if;
end
$$;

ALTER FUNCTION eventsourcing.open_table(target regclass, policy text, command text, grantee text) OWNER TO postgres;

--
-- Name: FUNCTION open_table(target regclass, policy text, command text, grantee text); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.open_table(target regclass, policy text, command text, grantee text) IS 'Creates or repairs a policy that shows all rows of a table to a role.';

--
-- Name: open_transactions(uuid, uuid); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

CREATE FUNCTION eventsourcing.open_transactions(p_access uuid, p_tenant uuid) RETURNS SETOF text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  perform eventsourcing.administer(p_access, p_tenant);
  return query
    select l.virtualtransaction from pg_locks l
    join pg_stat_activity a on a.pid = l.pid and a.datname = current_database()
    join pg_roles r on r.oid = a.usesysid and not r.rolsuper
    where l.locktype = 'virtualxid' and l.granted and l.pid <> pg_backend_pid();
end
$$;

ALTER FUNCTION eventsourcing.open_transactions(p_access uuid, p_tenant uuid) OWNER TO eventsourcing_administrator_owner;

--
-- Name: FUNCTION open_transactions(p_access uuid, p_tenant uuid); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

COMMENT ON FUNCTION eventsourcing.open_transactions(p_access uuid, p_tenant uuid) IS 'The transactions that programs have open in this database.';

--
-- Name: other_work_waits(text[], integer[], uuid, text, integer, boolean); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

CREATE FUNCTION eventsourcing.other_work_waits(p_projections text[], p_versions integer[], p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
declare
  moment constant timestamptz := clock_timestamp();
begin
  perform from unnest(p_projections, p_versions) w (projection, version)
    join eventsourcing.projection_versions v
      on v.projection = w.projection and v.version = w.version and v.retired_at is null and not v.inline
    cross join lateral (
      -- as in claim_projection
      select from eventsourcing.projections p
      where p.projection = w.projection and p.version = w.version
        and (not p.parked or p.retry_at is not null) and (p.position < p.head or p.rebuild and not p.shared)
        and (p.rebuild or not coalesce(v.held_until between moment and moment + interval '10 seconds', false))
        and (not p.shared or p.twins = eventsourcing.twins_of(v.tables))
        and (p.retry_at is null or p.retry_at <= moment)
        and (p.tenant_id, p.projection, p.version, p.rebuild) <> (p_tenant, p_projection, p_version, p_rebuild)
      limit 1
      for update skip locked
    ) waiting
    limit 1;
  if found then
    raise exception using errcode = 'ES010';
  end if;
  return false;
exception
  when sqlstate 'ES010' then
    return true;
end
$$;

ALTER FUNCTION eventsourcing.other_work_waits(p_projections text[], p_versions integer[], p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean) OWNER TO eventsourcing_runner_owner;

--
-- Name: FUNCTION other_work_waits(p_projections text[], p_versions integer[], p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

COMMENT ON FUNCTION eventsourcing.other_work_waits(p_projections text[], p_versions integer[], p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean) IS 'True if other work waits for a worker.';

--
-- Name: park_shared_rebuild(uuid, text, integer, text); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

CREATE FUNCTION eventsourcing.park_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_error text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  update eventsourcing.projections p
  set parked = true, attempts = 1, failed_position = p.position + 1, error = left(p_error, 1000), failure_kind = 'schema',
    waited_ms = 0, retry_at = null
  where p.projection = p_projection and p.version = p_version and p.rebuild;
end
$$;

ALTER FUNCTION eventsourcing.park_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_error text) OWNER TO eventsourcing_runner_owner;

--
-- Name: FUNCTION park_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_error text); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

COMMENT ON FUNCTION eventsourcing.park_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_error text) IS 'Parks a rebuild of a read model that all tenants share.';

--
-- Name: pause_projection(uuid, text, integer, text); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.pause_projection(p_tenant uuid, p_projection text, p_version integer, p_error text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  if eventsourcing.projection_retired(p_projection, p_version)
    or not exists (select from eventsourcing.tenants t where t.tenant_id = p_tenant)
  then
    return false;
  end if;
  insert into eventsourcing.projections as p (tenant_id, projection, version, rebuild, head, parked, error)
  values (p_tenant, p_projection, p_version, false, coalesce(
    (select e.position from eventsourcing.events e where e.tenant_id = p_tenant order by e.position desc limit 1), 0),
    true, p_error)
  on conflict (tenant_id, projection, version, rebuild) do update
    set parked = true, retry_at = null, error = p_error, failure_kind = null
    where not p.parked or p.retry_at is not null;
  return found;
end
$$;

ALTER FUNCTION eventsourcing.pause_projection(p_tenant uuid, p_projection text, p_version integer, p_error text) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION pause_projection(p_tenant uuid, p_projection text, p_version integer, p_error text); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.pause_projection(p_tenant uuid, p_projection text, p_version integer, p_error text) IS 'Stops a projection for the tenant until it is resumed.';

--
-- Name: place_tenant(uuid, uuid, text); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

CREATE FUNCTION eventsourcing.place_tenant(p_access uuid, p_tenant uuid, p_placement text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  if not exists (select from eventsourcing.placements p where p.placement = p_placement) then
    raise exception 'unknown placement' using errcode = 'ES005',
      hint = 'call eventsourcing.add_placement as the owner of the database with the directory';
  end if;
  insert into eventsourcing.tenant_directory (tenant_id, placement) values (p_tenant, p_placement)
  on conflict (tenant_id) do update set placement = excluded.placement;
end
$$;

ALTER FUNCTION eventsourcing.place_tenant(p_access uuid, p_tenant uuid, p_placement text) OWNER TO eventsourcing_all_tenants_owner;

--
-- Name: FUNCTION place_tenant(p_access uuid, p_tenant uuid, p_placement text); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

COMMENT ON FUNCTION eventsourcing.place_tenant(p_access uuid, p_tenant uuid, p_placement text) IS 'Sets the database of a tenant in the directory.';

--
-- Name: position_at(uuid, timestamp with time zone); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.position_at(p_tenant uuid, p_time timestamp with time zone) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
declare
  low    bigint := 1;
  high   bigint;
  middle bigint;
begin
  perform eventsourcing.bind_tenant(p_tenant);
  high := coalesce(
    (select e.position from eventsourcing.events e where e.tenant_id = p_tenant order by e.position desc limit 1), 0) + 1;
  while low < high loop
    middle := (low + high) / 2;
    if (select e.recorded_at from eventsourcing.events e where e.tenant_id = p_tenant and e.position = middle) >= p_time then
      high := middle;
    else
      low := middle + 1;
    end if;
  end loop;
  return low;
end
$$;

ALTER FUNCTION eventsourcing.position_at(p_tenant uuid, p_time timestamp with time zone) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION position_at(p_tenant uuid, p_time timestamp with time zone); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.position_at(p_tenant uuid, p_time timestamp with time zone) IS 'First position of the tenant''s log recorded at or after a time.';

--
-- Name: positions_of_types(uuid, text[], text[], bigint, bigint, boolean, integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.positions_of_types(p_tenant uuid, p_event_types text[], p_aggregate_types text[], p_from bigint, p_to bigint, p_backwards boolean, p_limit integer) RETURNS bigint[]
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_sort TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
declare
  blocks refcursor;
  block_ bigint;
  has    boolean; -- true if the block has such events
  edge   bigint;
  more   boolean := true;
  first  bigint := p_from; -- the part of the log that is left
  last   bigint := p_to;
  found_ bigint[] := '{}';
begin
  perform eventsourcing.bind_tenant(p_tenant);
  if p_backwards then
    open blocks for
      select k.block, k.event_types && p_event_types is not false and k.aggregate_types && p_aggregate_types is not false
      from eventsourcing.event_blocks k
      where k.tenant_id = p_tenant and k.block between (p_from - 1) / 1024 and (p_to - 1) / 1024
      order by k.block desc;
  else
    open blocks for
      select k.block, k.event_types && p_event_types is not false and k.aggregate_types && p_aggregate_types is not false
      from eventsourcing.event_blocks k
      where k.tenant_id = p_tenant and k.block between (p_from - 1) / 1024 and (p_to - 1) / 1024
      order by k.block;
  end if;
  while more and cardinality(found_) < p_limit loop
    fetch blocks into block_, has;
    more := found;
    -- reads up to this block, including it if it has such events; behind the last block with a row, all that is left
    if p_backwards then
      edge := case when more then greatest((block_ + case when has then 0 else 1 end) * 1024 + 1, p_from) else p_from end;
      if edge <= last then
        found_ := found_ || array(
          select e.position from eventsourcing.events e
          where e.tenant_id = p_tenant and e.position between edge and last
            and (p_event_types is null or e.event_type = any (p_event_types))
            and (p_aggregate_types is null or e.aggregate_type = any (p_aggregate_types))
          order by e.position desc limit p_limit - cardinality(found_));
      end if;
      last := block_ * 1024;
    else
      edge := case when more then least((block_ + case when has then 1 else 0 end) * 1024, p_to) else p_to end;
      if first <= edge then
        found_ := found_ || array(
          select e.position from eventsourcing.events e
          where e.tenant_id = p_tenant and e.position between first and edge
            and (p_event_types is null or e.event_type = any (p_event_types))
            and (p_aggregate_types is null or e.aggregate_type = any (p_aggregate_types))
          order by e.position limit p_limit - cardinality(found_));
      end if;
      first := (block_ + 1) * 1024 + 1;
    end if;
  end loop;
  return found_;
end
$$;

ALTER FUNCTION eventsourcing.positions_of_types(p_tenant uuid, p_event_types text[], p_aggregate_types text[], p_from bigint, p_to bigint, p_backwards boolean, p_limit integer) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION positions_of_types(p_tenant uuid, p_event_types text[], p_aggregate_types text[], p_from bigint, p_to bigint, p_backwards boolean, p_limit integer); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.positions_of_types(p_tenant uuid, p_event_types text[], p_aggregate_types text[], p_from bigint, p_to bigint, p_backwards boolean, p_limit integer) IS 'Positions of the first events of some types in the tenant''s log.';

--
-- Name: prepare_shared_switch(uuid, text, integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

CREATE FUNCTION eventsourcing.prepare_shared_switch(p_access uuid, p_projection text, p_version integer) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
declare
  moment constant timestamptz := clock_timestamp();
  near   constant bigint := 1000;
  known  eventsourcing.projection_versions;
  filled text;
  lag    bigint;
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  if not exists (
    select from eventsourcing.projection_versions v
    where v.projection = p_projection and v.version = p_version and v.rebuilding and v.retired_at is null
  ) then
    return 'none';
  end if;
  select * into known from eventsourcing.projection_versions v
  where v.projection = p_projection and v.version = p_version for update skip locked;
  if not found then
    return 'waiting';
  elsif not known.rebuilding or known.retired_at is not null then
    return 'none';
  end if;
  filled := eventsourcing.twins_of(known.tables);
  if exists (
    select from eventsourcing.projections p
    where p.projection = p_projection and p.version = p_version and p.rebuild and p.twins is distinct from filled
  ) then
    perform eventsourcing.begin_shared_rebuild(p_access, p_projection, p_version, true);
    return 'anew';
  end if;
  -- tenants whose first event came later, and those without an announcement yet
  insert into eventsourcing.projections (tenant_id, projection, version, rebuild, shared, twins, head)
  select p.tenant_id, p_projection, p_version, true, true, filled, p.head
  from eventsourcing.projections p
  where p.projection = p_projection and p.version = p_version and not p.rebuild and p.head > 0
  order by 1
  on conflict do nothing;
  insert into eventsourcing.projections (tenant_id, projection, version, rebuild)
  select p.tenant_id, p_projection, p_version, false
  from eventsourcing.projections p
  where p.projection = p_projection and p.version = p_version and p.rebuild
  order by 1
  on conflict do nothing;
  lag := eventsourcing.shared_rebuild_lag(p_access, p_projection, p_version);
  if lag is null and known.held_until is not null then
    update eventsourcing.projection_versions v set held_until = null
    where v.projection = p_projection and v.version = p_version;
  elsif lag between 1 and near and (known.held_until is null
    or moment not between known.held_until - interval '10 seconds' and known.held_until + interval '20 seconds')
  then
    update eventsourcing.projection_versions v set held_until = moment + interval '10 seconds'
    where v.projection = p_projection and v.version = p_version;
  end if;
  if lag is distinct from 0 then
    return 'waiting';
  end if;
  perform from eventsourcing.projections p
  where p.projection = p_projection and p.version = p_version order by p.tenant_id, p.rebuild for update;
  if eventsourcing.shared_rebuild_lag(p_access, p_projection, p_version) is distinct from 0 then
    return 'waiting';
  end if;
  return 'ready';
end
$$;

ALTER FUNCTION eventsourcing.prepare_shared_switch(p_access uuid, p_projection text, p_version integer) OWNER TO eventsourcing_runner_owner;

--
-- Name: FUNCTION prepare_shared_switch(p_access uuid, p_projection text, p_version integer); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

COMMENT ON FUNCTION eventsourcing.prepare_shared_switch(p_access uuid, p_projection text, p_version integer) IS 'Checks if a rebuild of a read model that all tenants share may replace the live one.';

--
-- Name: projection_backlog(text[], integer[]); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

CREATE FUNCTION eventsourcing.projection_backlog(p_projections text[], p_versions integer[]) RETURNS TABLE(projection text, version integer, pending double precision, oldest_millis double precision, parked integer)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
begin
  for i in 1 .. cardinality(p_projections) loop
    return query
      with unfinished as (
        -- two queries, so that each uses its own index
        select p.tenant_id, p.rebuild, p.parked, p.position, p.head from eventsourcing.projections p
        where p.projection = p_projections[i] and p.version = p_versions[i] and not p.parked
          and (p.position < p.head or p.rebuild and not p.shared)
        union all
        select p.tenant_id, p.rebuild, p.parked, p.position, p.head from eventsourcing.projections p
        where p.projection = p_projections[i] and p.version = p_versions[i] and p.parked
      )
      select p_projections[i], p_versions[i],
        coalesce(sum(u.head - u.position) filter (where not u.rebuild), 0)::double precision,
        (extract(epoch from clock_timestamp() - min(e.recorded_at)) * 1000)::double precision,
        (count(distinct u.tenant_id) filter (where u.parked))::integer
      from unfinished u
      left join eventsourcing.events e
        on e.tenant_id = u.tenant_id and e.position = u.position + 1 and not u.rebuild and u.position < u.head;
  end loop;
end
$$;

ALTER FUNCTION eventsourcing.projection_backlog(p_projections text[], p_versions integer[]) OWNER TO eventsourcing_runner_owner;

--
-- Name: FUNCTION projection_backlog(p_projections text[], p_versions integer[]); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

COMMENT ON FUNCTION eventsourcing.projection_backlog(p_projections text[], p_versions integer[]) IS 'Per projection, over all tenants: events to handle, the age of the oldest, and tenants for which it is parked.';

--
-- Name: projection_dead_letters(text[], integer[]); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

CREATE FUNCTION eventsourcing.projection_dead_letters(p_projections text[], p_versions integer[]) RETURNS TABLE(projection text, version integer, dead_letters integer, oldest_millis double precision)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
begin
  for i in 1 .. cardinality(p_projections) loop
    return query
      -- in the order of the index, so that the oldest is among them
      with letters as (
        select d.failed_at from eventsourcing.dead_letters d
        where d.projection = p_projections[i] and d.version = p_versions[i] and not d.rebuild
        order by d.failed_at
        limit 10000
      )
      select p_projections[i], p_versions[i], count(*)::integer,
        (extract(epoch from clock_timestamp() - min(l.failed_at)) * 1000)::double precision
      from letters l;
  end loop;
end
$$;

ALTER FUNCTION eventsourcing.projection_dead_letters(p_projections text[], p_versions integer[]) OWNER TO eventsourcing_runner_owner;

--
-- Name: FUNCTION projection_dead_letters(p_projections text[], p_versions integer[]); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

COMMENT ON FUNCTION eventsourcing.projection_dead_letters(p_projections text[], p_versions integer[]) IS 'Per projection, over all tenants: the number of dead letters (at most 10,000) and the age of the oldest.';

--
-- Name: projection_retired(text, integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

CREATE FUNCTION eventsourcing.projection_retired(p_projection text, p_version integer) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
  select exists (
    select from eventsourcing.projection_versions v
    where v.projection = p_projection and v.version = p_version and v.retired_at is not null)
$$;

ALTER FUNCTION eventsourcing.projection_retired(p_projection text, p_version integer) OWNER TO eventsourcing_runner_owner;

--
-- Name: FUNCTION projection_retired(p_projection text, p_version integer); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

COMMENT ON FUNCTION eventsourcing.projection_retired(p_projection text, p_version integer) IS 'True if a version of a projection is retired.';

--
-- Name: projection_status(uuid, text, integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.projection_status(p_tenant uuid, p_projection text, p_version integer) RETURNS TABLE(rebuild boolean, "position" double precision, head double precision, parked boolean, attempts integer, failed_position double precision, error text, failure_kind text, retry_at timestamp with time zone, oldest_unprocessed timestamp with time zone, shared boolean, rebuilt integer)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
begin
  perform eventsourcing.bind_tenant(p_tenant);
  return query
    select p.rebuild, p.position::double precision,
      coalesce((select e.position from eventsourcing.events e where e.tenant_id = p_tenant
                order by e.position desc limit 1), 0)::double precision,
      p.parked, p.attempts, p.failed_position::double precision, p.error, p.failure_kind, p.retry_at,
      (select e.recorded_at from eventsourcing.events e where e.tenant_id = p_tenant and e.position = p.position + 1),
      p.shared, p.rebuilt
    from eventsourcing.projections p
    where p.tenant_id = p_tenant and p.projection = p_projection and p.version = p_version;
end
$$;

ALTER FUNCTION eventsourcing.projection_status(p_tenant uuid, p_projection text, p_version integer) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION projection_status(p_tenant uuid, p_projection text, p_version integer); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.projection_status(p_tenant uuid, p_projection text, p_version integer) IS 'Progress, head and last failure of a projection for the tenant.';

--
-- Name: protect_tenant_table(regclass); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.protect_tenant_table(target regclass) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $_$
declare
  wanted  record;
  refused record;
  -- the condition as PostgreSQL prints it
  stored constant text :=
    '(tenant_id = (NULLIF(current_setting(''eventsourcing.tenant_id''::text, true), ''''::text))::uuid)';
begin
  if not exists (
    select from pg_attribute
    where attrelid = target and attname = 'tenant_id' and atttypid = 'uuid'::regtype and attnotnull and not attisdropped
  ) then
    raise exception 'table % has no column "tenant_id uuid not null"', target
      using hint = 'add the column, then call eventsourcing.protect_tenant_table again';
  end if;
  select k.problem, k.remedy into refused
  from eventsourcing.keys_without_tenant(array[target::oid]) k where k.of_table = target limit 1;
  if found then
    raise exception '%', refused.problem using hint = 'first run: ' || refused.remedy;
  end if;
  -- Changes only differences, because DDL locks the table.
  if exists (select from pg_class where oid = target and not (relrowsecurity and relforcerowsecurity)) then
    execute format('alter table %s enable row level security', target);
    execute format('alter table %s force row level security', target);
  end if;
  for wanted in values ('tenant_access', true), ('tenant_isolation', false) loop
    if not exists (
      select from pg_policy p
      where p.polrelid = target and p.polname = wanted.column1 and p.polpermissive = wanted.column2 and p.polcmd = '*'
        and p.polroles = array['eventsourcing_tenant'::regrole::oid]
        and pg_get_expr(p.polqual, target) = stored and pg_get_expr(p.polwithcheck, target) = stored
    ) then
      execute format('drop policy if exists %I on %s', wanted.column1, target);
      execute format($policy$
        create policy %I on %s as %s for all to eventsourcing_tenant
          using (tenant_id = nullif(current_setting('eventsourcing.tenant_id', true), '')::uuid)
          with check (tenant_id = nullif(current_setting('eventsourcing.tenant_id', true), '')::uuid)
        $policy$, wanted.column1, target, case when wanted.column2 then 'permissive' else 'restrictive' end);
    end if;
  end loop;
end
$_$;

ALTER FUNCTION eventsourcing.protect_tenant_table(target regclass) OWNER TO postgres;

--
-- Name: FUNCTION protect_tenant_table(target regclass); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.protect_tenant_table(target regclass) IS 'Creates or repairs the row-level security of a table with a tenant_id column.';

--
-- Name: provision_tenant(uuid); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.provision_tenant(p_tenant uuid) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  insert into eventsourcing.tenants (tenant_id) values (p_tenant) on conflict do nothing;
  return (select t.status from eventsourcing.tenants t where t.tenant_id = p_tenant);
end
$$;

ALTER FUNCTION eventsourcing.provision_tenant(p_tenant uuid) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION provision_tenant(p_tenant uuid); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.provision_tenant(p_tenant uuid) IS 'Registers the tenant, unless it is registered already; returns its status.';

--
-- Name: purge_tenant(uuid, uuid, uuid, integer); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.purge_tenant(p_access uuid, p_tenant uuid, p_token uuid, p_limit integer) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $_$
declare
  known   record;
  purged  record;
  left_   integer := greatest(p_limit, 1);
  rows_   integer;
  removed integer := 0;
  before  integer;
  waiting boolean := false; -- a foreign key of another table holds rows
  moment  constant bigint := (extract(epoch from clock_timestamp()) * 1000)::bigint;
begin
  perform eventsourcing.administer(p_access, p_tenant);
  select t.status, t.undertaking, t.undertaking ->> 'token' as token, t.hold into known
  from eventsourcing.tenants t where t.tenant_id = p_tenant for no key update;
  if known.status is null then
    return jsonb_build_object('problem', 'the tenant is not registered here');
  elsif known.status not in ('erased', 'moved', 'importing') then
    return jsonb_build_object('problem', format('the tenant is %s: only the rows of an erased, moved or importing tenant are purged', known.status));
  elsif known.token is distinct from p_token::text then
    return jsonb_build_object('problem', 'another undertaking has the tenant: its token differs');
  elsif known.status = 'erased' and known.hold is not null then
    return jsonb_build_object('held', known.hold);
  elsif known.status = 'erased' and (known.undertaking ->> 'purgeFrom')::bigint > moment then
    return jsonb_build_object('problem', 'the delay of the erasure is not over');
  end if;
  if known.undertaking -> 'purging' is null then
    update eventsourcing.tenants t set undertaking = t.undertaking || '{"purging": true}' where t.tenant_id = p_tenant;
  end if;
  loop
    before := removed;
    waiting := false;
    for purged in
      -- partitions one by one, because ctid does not tell them apart
      select c.oid::regclass::text as name from pg_class c
      cross join lateral (select coalesce(pg_partition_root(c.oid)::oid, c.oid) as oid) r
      where c.relkind = 'r' and (
        c.relnamespace = 'eventsourcing'::regnamespace and c.relname not in ('tenants', 'tenant_directory')
          and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)
        or c.relnamespace <> 'eventsourcing'::regnamespace
          and exists (select from pg_policy p where p.polrelid = r.oid and p.polname = 'tenant_isolation'))
      order by c.relnamespace <> 'eventsourcing'::regnamespace desc, c.oid
    loop
      exit when left_ <= 0;
      begin
        execute format('delete from %1$s where ctid = any (array(select x.ctid from %1$s x where x.tenant_id = $1 limit $2))', purged.name)
          using p_tenant, left_;
        get diagnostics rows_ = row_count;
        left_ := left_ - rows_;
        removed := removed + rows_;
      exception when foreign_key_violation then
        waiting := true;
      end;
    end loop;
    exit when left_ <= 0 or not waiting;
    if removed = before then
      raise exception 'rows of tenant % are held by foreign keys', p_tenant using errcode = '23503';
    end if;
  end loop;
  if left_ <= 0 then
    return jsonb_build_object('removed', removed, 'complete', false);
  end if;
  if known.status = 'importing' then
    delete from eventsourcing.tenants t where t.tenant_id = p_tenant;
  else
    update eventsourcing.tenants t set undertaking = t.undertaking || '{"purged": true}', chained_from = null, origin = null,
      quota = null, forgotten_subjects = 0
    where t.tenant_id = p_tenant;
  end if;
  if known.status = 'erased' then
    delete from eventsourcing.tenant_directory d where d.tenant_id = p_tenant;
    -- Only the record of the erasure keeps the id. It names the access, so that the trail still tells of this erasure.
    update eventsourcing.cross_tenant_accesses a set operation = replace(a.operation, p_tenant::text, 'of an erased tenant')
    where a.operation like '%' || p_tenant::text || '%';
  end if;
  return jsonb_build_object('removed', removed, 'complete', true);
end
$_$;

ALTER FUNCTION eventsourcing.purge_tenant(p_access uuid, p_tenant uuid, p_token uuid, p_limit integer) OWNER TO postgres;

--
-- Name: FUNCTION purge_tenant(p_access uuid, p_tenant uuid, p_token uuid, p_limit integer); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.purge_tenant(p_access uuid, p_tenant uuid, p_token uuid, p_limit integer) IS 'Removes rows of an erased, moved or importing tenant, a bounded number per call.';

--
-- Name: quota_refusal(uuid, jsonb, bigint, integer, integer, timestamp with time zone); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.quota_refusal(p_tenant uuid, p_quota jsonb, p_position bigint, p_events integer, p_bytes integer, p_time timestamp with time zone) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
declare
  limits   jsonb := p_quota;
  most     bigint;           -- events of the log
  burst    bigint;           -- events in a window
  millis   double precision; -- length of the window
  oldest   timestamptz;      -- recorded time of the last event that must be outside of the window
begin
  if p_quota ? 'plan' then
    limits := (select p.limits from eventsourcing.plans p where p.name = p_quota ->> 'plan');
    if limits is null then
      raise exception 'the plan "%" of the tenant is not defined in this database', p_quota ->> 'plan'
        using hint = 'define it with TenantQuota.definePlan';
    end if;
  end if;
  most := (limits ->> 'events')::bigint;
  burst := (limits -> 'rate' ->> 'events')::bigint;
  millis := (limits -> 'rate' ->> 'windowMillis')::double precision;
  if p_bytes > (limits ->> 'eventBytes')::bigint then
    return jsonb_build_object('kind', 'tooLarge', 'limit', 'eventBytes', 'maximum', limits -> 'eventBytes');
  end if;
  if p_events > least(most, burst) then
    return jsonb_build_object('kind', 'tooLarge', 'limit', 'appendEvents', 'maximum', least(most, burst));
  end if;
  if p_position + p_events > most then
    return jsonb_build_object('kind', 'quotaExceeded', 'quota', 'events', 'maximum', most);
  end if;
  if p_position + p_events > burst then
    oldest := coalesce((
      select e.recorded_at from eventsourcing.events e
      where e.tenant_id = p_tenant and e.position = p_position + p_events - burst), p_time);
    if extract(epoch from p_time - oldest) * 1000 < millis then
      return jsonb_build_object('kind', 'quotaExceeded', 'quota', 'rate', 'maximum', burst, 'windowMillis', millis,
        'retryAfterMillis', greatest(ceil(millis - extract(epoch from clock_timestamp() - oldest) * 1000), 1));
    end if;
  end if;
  return null;
end
$$;

ALTER FUNCTION eventsourcing.quota_refusal(p_tenant uuid, p_quota jsonb, p_position bigint, p_events integer, p_bytes integer, p_time timestamp with time zone) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION quota_refusal(p_tenant uuid, p_quota jsonb, p_position bigint, p_events integer, p_bytes integer, p_time timestamp with time zone); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.quota_refusal(p_tenant uuid, p_quota jsonb, p_position bigint, p_events integer, p_bytes integer, p_time timestamp with time zone) IS 'The refusal of an append by the quota of its tenant; NULL if the quota allows it.';

--
-- Name: read_all_logs(uuid, uuid, bigint, integer, bigint); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

CREATE FUNCTION eventsourcing.read_all_logs(p_access uuid, p_after_tenant uuid, p_after_position bigint, p_limit integer, p_max_bytes bigint) RETURNS TABLE(tenant_id uuid, "position" double precision, aggregate_type text, aggregate_id text, version integer, event_id uuid, event_type text, schema_version integer, occurred_at timestamp with time zone, recorded_at timestamp with time zone, actor text, correlation_id text, causation_id text, metadata text, payload text, tags text[], hash text, traceparent text, more boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_sort TO 'off'
    AS $$
#variable_conflict use_column
declare
  unseen uuid[];
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  unseen := eventsourcing.unseen_tenants(false);
  return query
    select e.tenant_id, e.position::double precision, e.aggregate_type, e.aggregate_id, e.version, e.event_id,
      e.event_type, e.schema_version, e.occurred_at, e.recorded_at, e.actor,
      e.correlation_id, e.causation_id, e.metadata::text, e.payload::text, e.tags, encode(e.hash, 'hex'), e.traceparent,
      e.more
    from (
      select e.*, sum(e.bytes) over (order by e.tenant_id, e.position rows unbounded preceding) as total,
        lead(true, 1, false) over (order by e.tenant_id, e.position) as more
      from eventsourcing.events e
      where (e.tenant_id, e.position) > (coalesce(p_after_tenant, '00000000-0000-0000-0000-000000000000'), coalesce(p_after_position, 0))
        and (unseen = '{}' or e.tenant_id <> all (unseen))
      order by e.tenant_id, e.position
      limit p_limit
    ) e
    where e.total - e.bytes < p_max_bytes
    order by e.tenant_id, e.position;
end
$$;

ALTER FUNCTION eventsourcing.read_all_logs(p_access uuid, p_after_tenant uuid, p_after_position bigint, p_limit integer, p_max_bytes bigint) OWNER TO eventsourcing_all_tenants_owner;

--
-- Name: FUNCTION read_all_logs(p_access uuid, p_after_tenant uuid, p_after_position bigint, p_limit integer, p_max_bytes bigint); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

COMMENT ON FUNCTION eventsourcing.read_all_logs(p_access uuid, p_after_tenant uuid, p_after_position bigint, p_limit integer, p_max_bytes bigint) IS 'One page of the logs of all tenants, ordered by tenant and position.';

--
-- Name: read_log(uuid, bigint, bigint, timestamp with time zone, timestamp with time zone, text[], text[], jsonb, boolean, integer, bigint); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.read_log(p_tenant uuid, p_from bigint, p_to bigint, p_recorded_from timestamp with time zone, p_recorded_before timestamp with time zone, p_aggregate_types text[], p_event_types text[], p_query jsonb, p_backwards boolean, p_limit integer, p_max_bytes bigint) RETURNS SETOF eventsourcing.event_chunk
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_sort TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
declare
  -- as in load_streams
  largest  constant integer := 128;
  share    constant bigint := least(p_max_bytes, 4194304) / largest;
  chunk    eventsourcing.event_chunk;
  first    bigint := p_from;
  last     bigint := p_to;
  searched constant boolean := p_query is not null or p_backwards;
  matching bigint[];
  left_    integer := p_limit;
  size     integer := largest;
  wanted   integer;
  fitting  bigint;
  larger   integer;
  bytes_   bigint;
  total    bigint := 0;
begin
  perform eventsourcing.bind_tenant(p_tenant);
  perform eventsourcing.require_visible(p_tenant);
  if p_recorded_from is not null then
    first := greatest(first, eventsourcing.position_at(p_tenant, p_recorded_from));
  end if;
  if p_recorded_before is not null then
    last := least(last, eventsourcing.position_at(p_tenant, p_recorded_before) - 1);
  end if;
  if searched then
    matching := eventsourcing.matching_positions(
      p_tenant, coalesce(p_query, '[{"tags": []}]'), first, last, p_aggregate_types, p_event_types, p_backwards, p_limit);
  end if;
  loop
    wanted := case when total >= p_max_bytes then 1 else least(size, left_) end;
    fitting := case when wanted > 1 then share else 2147483647 end;
    select count(*), count(*) filter (where e.bytes > fitting), sum(e.bytes),
      array_agg(e.position::double precision), string_agg(e.aggregate_type, U&'\001F'),
      string_agg(e.aggregate_id, U&'\001F'), array_agg(e.version), string_agg(e.event_id::text, ''),
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
      chunk.positions, chunk.aggregate_types,
      chunk.aggregate_ids, chunk.versions, chunk.event_ids,
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
      (select k.* from eventsourcing.events k
        where not searched and k.tenant_id = p_tenant and k.position between first and last
          and (p_aggregate_types is null or k.aggregate_type = any (p_aggregate_types))
          and (p_event_types is null or k.event_type = any (p_event_types))
        order by k.position limit wanted)
      union all
      -- one look-up per position: before PostgreSQL 17, "= any" in the order of the index would read the whole index
      (select k.* from unnest(matching[1:wanted]) m (at)
        cross join lateral (
          select x.* from eventsourcing.events x
          where x.tenant_id = p_tenant and x.position between m.at and m.at
          order by x.position limit 1
        ) k
        order by k.position)
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
    if searched then
      matching := matching[wanted + 1 :];
    else
      first := chunk.positions[chunk.events] + 1;
    end if;
    size := least(size * 2, largest);
  end loop;
end
$$;

ALTER FUNCTION eventsourcing.read_log(p_tenant uuid, p_from bigint, p_to bigint, p_recorded_from timestamp with time zone, p_recorded_before timestamp with time zone, p_aggregate_types text[], p_event_types text[], p_query jsonb, p_backwards boolean, p_limit integer, p_max_bytes bigint) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION read_log(p_tenant uuid, p_from bigint, p_to bigint, p_recorded_from timestamp with time zone, p_recorded_before timestamp with time zone, p_aggregate_types text[], p_event_types text[], p_query jsonb, p_backwards boolean, p_limit integer, p_max_bytes bigint); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.read_log(p_tenant uuid, p_from bigint, p_to bigint, p_recorded_from timestamp with time zone, p_recorded_before timestamp with time zone, p_aggregate_types text[], p_event_types text[], p_query jsonb, p_backwards boolean, p_limit integer, p_max_bytes bigint) IS 'One page of the log of the tenant, in chunks.';

--
-- Name: read_model_name(regclass); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.read_model_name(target regclass) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
declare
  table_name constant text := (select c.relname from pg_class c where c.oid = target);
begin
  -- its name means another table, or none, in other sessions
  if (select c.relpersistence from pg_class c where c.oid = target) = 't' then
    raise exception 'temporary table % cannot be a read model', table_name;
  end if;
  if exists (select from eventsourcing.read_models m where m.name = table_name and m.live_table <> target::text) then
    raise exception 'a read model named % is registered already, as %', table_name,
      (select m.live_table from eventsourcing.read_models m where m.name = table_name)
      using hint = 'read models must have different names, even in different schemas';
  end if;
  return table_name;
end
$$;

ALTER FUNCTION eventsourcing.read_model_name(target regclass) OWNER TO postgres;

--
-- Name: FUNCTION read_model_name(target regclass); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.read_model_name(target regclass) IS 'The name of a table as a read model. Refuses a table that cannot be one.';

--
-- Name: read_raw_log(uuid, uuid, bigint, bigint, integer, bigint); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

CREATE FUNCTION eventsourcing.read_raw_log(p_access uuid, p_tenant uuid, p_from bigint, p_to bigint, p_limit integer, p_max_bytes bigint) RETURNS SETOF eventsourcing.event_chunk
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  perform eventsourcing.administer(p_access, p_tenant);
  return query select * from eventsourcing.read_log(
    p_tenant, p_from, p_to, null, null, null, null, null, false, p_limit, p_max_bytes);
end
$$;

ALTER FUNCTION eventsourcing.read_raw_log(p_access uuid, p_tenant uuid, p_from bigint, p_to bigint, p_limit integer, p_max_bytes bigint) OWNER TO eventsourcing_administrator_owner;

--
-- Name: FUNCTION read_raw_log(p_access uuid, p_tenant uuid, p_from bigint, p_to bigint, p_limit integer, p_max_bytes bigint); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

COMMENT ON FUNCTION eventsourcing.read_raw_log(p_access uuid, p_tenant uuid, p_from bigint, p_to bigint, p_limit integer, p_max_bytes bigint) IS 'One page of a tenant''s log, for its administration.';

--
-- Name: read_stream(uuid, text, text, integer, integer, boolean, integer, bigint); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.read_stream(p_tenant uuid, p_aggregate_type text, p_aggregate_id text, p_from integer, p_to integer, p_backwards boolean, p_limit integer, p_max_bytes bigint) RETURNS SETOF eventsourcing.event_chunk
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_sort TO 'off'
    AS $$
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

ALTER FUNCTION eventsourcing.read_stream(p_tenant uuid, p_aggregate_type text, p_aggregate_id text, p_from integer, p_to integer, p_backwards boolean, p_limit integer, p_max_bytes bigint) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION read_stream(p_tenant uuid, p_aggregate_type text, p_aggregate_id text, p_from integer, p_to integer, p_backwards boolean, p_limit integer, p_max_bytes bigint); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.read_stream(p_tenant uuid, p_aggregate_type text, p_aggregate_id text, p_from integer, p_to integer, p_backwards boolean, p_limit integer, p_max_bytes bigint) IS 'One page of a stream of the tenant, in chunks.';

--
-- Name: read_tenant_rows(uuid, uuid, text, text, integer, bigint); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

CREATE FUNCTION eventsourcing.read_tenant_rows(p_access uuid, p_tenant uuid, p_kind text, p_after text, p_limit integer, p_from bigint DEFAULT 0) RETURNS SETOF jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
declare
  moment constant timestamptz := clock_timestamp();
begin
  perform eventsourcing.administer(p_access, p_tenant);
  case p_kind
    when 'commandKeys' then
      return query
        select jsonb_build_object('key', k.key, 'fingerprint', k.fingerprint, 'aggregateType', k.aggregate_type,
          'aggregateId', k.aggregate_id, 'version', k.version, 'position', k.position, 'events', k.events,
          'recordedAt', (extract(epoch from k.recorded_at) * 1000)::bigint,
          'expiresInMillis', ceil(extract(epoch from k.expires_at - moment) * 1000)::bigint)
        from eventsourcing.command_keys k
        where k.tenant_id = p_tenant and k.expires_at > moment and k.position >= p_from and (p_after is null or k.key > p_after)
        order by k.key limit p_limit;
    when 'deadLetters' then
      return query
        select jsonb_build_object('projection', l.projection, 'version', l.version, 'position', l.position,
          'eventId', l.event_id, 'error', l.error, 'attempts', l.attempts,
          'failedAt', (extract(epoch from l.failed_at) * 1000)::bigint,
          'discarded', case when l.discarded_at is not null then jsonb_build_object(
            'at', (extract(epoch from l.discarded_at) * 1000)::bigint, 'reason', l.reason) end)
        from (
          select d.projection, d.version, d.position, d.event_id, d.error, d.attempts, d.failed_at, null::timestamptz as discarded_at,
            null::text as reason
          from eventsourcing.dead_letters d where d.tenant_id = p_tenant and not d.rebuild
          union all
          select d.projection, d.version, d.position, d.event_id, d.error, d.attempts, d.failed_at, d.discarded_at, d.reason
          from eventsourcing.discarded_dead_letters d where d.tenant_id = p_tenant
        ) l
        order by l.projection, l.version, l.position, l.discarded_at nulls first
        offset p_after::integer limit p_limit;
    when 'progress' then
      return query
        select jsonb_build_object('projection', p.projection, 'version', p.version, 'position', p.position, 'parked', p.parked,
          'attempts', p.attempts, 'failedPosition', p.failed_position, 'error', p.error,
          'tables', (select to_jsonb(v.tables) from eventsourcing.projection_versions v
                     where v.projection = p.projection and v.version = p.version))
        from eventsourcing.projections p where p.tenant_id = p_tenant and not p.rebuild
        order by p.projection, p.version limit p_limit;
    when 'work' then
      return query
        select jsonb_build_object('projection', p.projection, 'version', p.version, 'rebuild', p.rebuild, 'position', p.position,
          'parked', p.parked, 'attempts', p.attempts, 'failedPosition', p.failed_position, 'error', p.error,
          'failureKind', p.failure_kind, 'retryInMillis', (extract(epoch from p.retry_at - moment) * 1000)::bigint,
          'servedMillisAgo', case when p.served_at > '1970-01-01T00:00:00Z'
            then (extract(epoch from moment - p.served_at) * 1000)::bigint end,
          'tables', (select to_jsonb(v.tables) from eventsourcing.projection_versions v
                     where v.projection = p.projection and v.version = p.version))
        from eventsourcing.projections p where p.tenant_id = p_tenant
        order by p.projection, p.version, p.rebuild limit p_limit;
    when 'subjects' then
      return query
        select jsonb_build_object('subject', s.subject, 'number', s.number, 'forgotten', s.forgotten, 'begun', s.begun, 'hold', s.hold)
        from eventsourcing.subjects s
        where s.tenant_id = p_tenant and (p_after is null or s.subject > p_after)
        order by s.subject limit p_limit;
    when 'payloadsWith' then
      return query
        select to_jsonb(true) where exists (
          select from eventsourcing.events e
          where e.tenant_id = p_tenant and e.position >= p_from and e.position < p_from + p_limit
            and strpos(e.payload::text, p_after) > 0);
    else
      raise exception 'unknown rows %', p_kind using errcode = '22023';
  end case;
end
$$;

ALTER FUNCTION eventsourcing.read_tenant_rows(p_access uuid, p_tenant uuid, p_kind text, p_after text, p_limit integer, p_from bigint) OWNER TO eventsourcing_administrator_owner;

--
-- Name: FUNCTION read_tenant_rows(p_access uuid, p_tenant uuid, p_kind text, p_after text, p_limit integer, p_from bigint); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

COMMENT ON FUNCTION eventsourcing.read_tenant_rows(p_access uuid, p_tenant uuid, p_kind text, p_after text, p_limit integer, p_from bigint) IS 'Rows of a tenant beside its log, for its administration.';

--
-- Name: read_tenant_table(uuid, uuid, text, text, integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

CREATE FUNCTION eventsourcing.read_tenant_table(p_access uuid, p_tenant uuid, p_table text, p_after text, p_limit integer) RETURNS SETOF text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $_$
declare
  key constant text := eventsourcing.carried_key(p_table);
begin
  perform eventsourcing.administer(p_access, p_tenant);
  if key is null then
    return next null;
    return;
  end if;
  return query execute format(
    'select row_to_json(t)::text from %1$s t where t.tenant_id = $1 and ($2 is null or (%2$s) > '
      '(select %2$s from json_populate_record(null::%1$s, $2::json) t)) order by %2$s limit $3', p_table, key)
    using p_tenant, p_after, p_limit;
end
$_$;

ALTER FUNCTION eventsourcing.read_tenant_table(p_access uuid, p_tenant uuid, p_table text, p_after text, p_limit integer) OWNER TO eventsourcing_administrator_owner;

--
-- Name: FUNCTION read_tenant_table(p_access uuid, p_tenant uuid, p_table text, p_after text, p_limit integer); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

COMMENT ON FUNCTION eventsourcing.read_tenant_table(p_access uuid, p_tenant uuid, p_table text, p_after text, p_limit integer) IS 'Rows of a tenant in a carried table, for its administration.';

--
-- Name: rebuild_problem(text, integer, text[], boolean); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.rebuild_problem(p_projection text, p_version integer, p_tables text[], p_shared boolean) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
declare
  read_model text;
  registered eventsourcing.read_models;
  live       oid;
  twin       oid;
  differing  text;
  register   constant text := case when p_shared then 'register_shared_read_model' else 'register_read_model' end;
begin
  if eventsourcing.projection_retired(p_projection, p_version) then
    return 'this version is retired';
  end if;
  foreach read_model in array p_tables loop
    select * into registered from eventsourcing.read_models m where m.name = read_model;
    -- not by regclass, which needs a right to the schema
    live := (
      select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relname = read_model::name and format('%I.%I', n.nspname, c.relname) = registered.live_table);
    twin := (
      select c.oid from pg_class c
      where c.relname = read_model::name and c.relnamespace = 'eventsourcing_rebuild'::regnamespace);
    if registered.name is null then
      return format('table %s is not registered: as its owner, run select eventsourcing.%s(%L)',
        read_model, register, read_model);
    elsif live is null then
      return format('read model %s is registered as table %s, which does not exist: as its owner, run '
        'select eventsourcing.unregister_read_model(%L) and register the existing table', read_model,
        registered.live_table, read_model);
    elsif registered.shared <> p_shared then
      return format('table %s is registered as %s: as its owner, run select eventsourcing.%s(%L)', registered.live_table,
        case when registered.shared then 'one that a projection across tenants fills' else 'one of each tenant' end,
        register, registered.live_table);
    elsif twin is null then
      return format('table %s has no twin: as its owner, run select eventsourcing.%s(%L)',
        registered.live_table, register, registered.live_table);
    end if;
    differing := eventsourcing.twin_difference(live, twin);
    if differing is not null then
      return format('table %s has changed since its twin was made (%s): as its owner, run '
        'select eventsourcing.%s(%L), then rebuild again', registered.live_table, differing, register,
        registered.live_table);
    end if;
  end loop;
  return null;
end
$$;

ALTER FUNCTION eventsourcing.rebuild_problem(p_projection text, p_version integer, p_tables text[], p_shared boolean) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION rebuild_problem(p_projection text, p_version integer, p_tables text[], p_shared boolean); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.rebuild_problem(p_projection text, p_version integer, p_tables text[], p_shared boolean) IS 'The reason why read models cannot be rebuilt now; NULL if they can.';

--
-- Name: record_cross_tenant_access(uuid, text, text, text); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

CREATE FUNCTION eventsourcing.record_cross_tenant_access(p_access uuid, p_actor text, p_reason text, p_operation text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
begin
  perform eventsourcing.record_operation(p_access, p_actor, p_reason, p_operation, null);
end
$$;

ALTER FUNCTION eventsourcing.record_cross_tenant_access(p_access uuid, p_actor text, p_reason text, p_operation text) OWNER TO eventsourcing_all_tenants_owner;

--
-- Name: FUNCTION record_cross_tenant_access(p_access uuid, p_actor text, p_reason text, p_operation text); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

COMMENT ON FUNCTION eventsourcing.record_cross_tenant_access(p_access uuid, p_actor text, p_reason text, p_operation text) IS 'Records an access across tenants: actor, reason and operation.';

--
-- Name: record_operation(uuid, text, text, text, jsonb); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

CREATE FUNCTION eventsourcing.record_operation(p_access uuid, p_actor text, p_reason text, p_operation text, p_parameters jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
declare
  recorded eventsourcing.cross_tenant_accesses;
begin
  -- The trail is read in the order of ids. An id must be as old as its record, so that nobody can hide an access in the past.
  if pg_catalog.substr(p_access::text, 15, 1) <> '7' or pg_catalog.abs(
    ('x' || pg_catalog.substr(pg_catalog.replace(p_access::text, '-', ''), 1, 12))::bit(48)::bigint
      - extract(epoch from clock_timestamp()) * 1000
  ) > 3600000 then
    raise exception 'access id % is not a UUID of version 7 made within an hour of the database''s clock', p_access
      using errcode = 'ES004', hint = 'let the store create the id, and set the clocks of both machines';
  end if;
  insert into eventsourcing.cross_tenant_accesses (access_id, actor, reason, operation, login, parameters)
  values (p_access, p_actor, p_reason, p_operation, session_user, p_parameters)
  on conflict (access_id) do nothing
  returning * into recorded;
  if recorded.access_id is null and not exists (
    -- the same access, recorded again after a lost answer
    select from eventsourcing.cross_tenant_accesses a
    where a.access_id = p_access and a.actor = p_actor and a.reason = p_reason and a.operation = p_operation
      and a.login = session_user::text and a.parameters is not distinct from p_parameters
  ) then
    raise exception 'access id % is recorded for another access', p_access using errcode = 'ES004';
  end if;
end
$$;

ALTER FUNCTION eventsourcing.record_operation(p_access uuid, p_actor text, p_reason text, p_operation text, p_parameters jsonb) OWNER TO eventsourcing_all_tenants_owner;

--
-- Name: FUNCTION record_operation(p_access uuid, p_actor text, p_reason text, p_operation text, p_parameters jsonb); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

COMMENT ON FUNCTION eventsourcing.record_operation(p_access uuid, p_actor text, p_reason text, p_operation text, p_parameters jsonb) IS 'Records an access across tenants: actor, reason, operation and its parameters.';

--
-- Name: recorded_access(uuid); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

CREATE FUNCTION eventsourcing.recorded_access(p_access uuid, OUT actor text, OUT reason text) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  select a.actor, a.reason into actor, reason from eventsourcing.cross_tenant_accesses a
  where a.access_id = p_access and a.login = session_user::text;
end
$$;

ALTER FUNCTION eventsourcing.recorded_access(p_access uuid, OUT actor text, OUT reason text) OWNER TO eventsourcing_all_tenants_owner;

--
-- Name: FUNCTION recorded_access(p_access uuid, OUT actor text, OUT reason text); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

COMMENT ON FUNCTION eventsourcing.recorded_access(p_access uuid, OUT actor text, OUT reason text) IS 'The actor and the reason of a recorded access of this login.';

--
-- Name: register_inline_projection(text, integer, text[]); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

CREATE FUNCTION eventsourcing.register_inline_projection(p_projection text, p_version integer, p_tables text[]) RETURNS TABLE(reason text, read_model text, filled_by text, filled_by_version integer, filled_by_retired boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
declare
  known eventsourcing.projection_versions;
begin
  -- a tenant's transaction must not learn the names of projections
  if nullif(current_setting('eventsourcing.tenant_id', true), '') is not null then
    raise exception 'the transaction is bound to a tenant' using errcode = 'ES001';
  end if;
  select * into known from eventsourcing.projection_versions v
  where v.projection = p_projection and v.version = p_version;
  if known.retired_at is null and known.inline and known.tables = p_tables then
    return;
  end if;
  -- locked, so that one of two versions registered at the same time sees the other
  lock table eventsourcing.projection_versions in share row exclusive mode;
  select * into known from eventsourcing.projection_versions v
  where v.projection = p_projection and v.version = p_version;
  if known.retired_at is not null then
    return query select 'Retired', null::text, null::text, null::integer, null::boolean;
    return;
  elsif not known.inline then
    return query select 'Runner', null::text, null::text, null::integer, null::boolean;
    return;
  end if;
  return query select 'TableTaken', t.* from eventsourcing.taken_table(p_projection, p_version, p_tables) t;
  if found then
    return;
  end if;
  insert into eventsourcing.projection_versions (projection, version, tables, inline)
  values (p_projection, p_version, p_tables, true)
  on conflict (projection, version) do update set tables = excluded.tables;
end
$$;

ALTER FUNCTION eventsourcing.register_inline_projection(p_projection text, p_version integer, p_tables text[]) OWNER TO eventsourcing_runner_owner;

--
-- Name: FUNCTION register_inline_projection(p_projection text, p_version integer, p_tables text[]); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

COMMENT ON FUNCTION eventsourcing.register_inline_projection(p_projection text, p_version integer, p_tables text[]) IS 'Registers a projection that runs in the transactions of appends; a row has the reason if it is refused.';

--
-- Name: register_projection(text, integer, text[], boolean); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

CREATE FUNCTION eventsourcing.register_projection(p_projection text, p_version integer, p_tables text[], p_from_now boolean DEFAULT false) RETURNS TABLE(reason text, read_model text, filled_by text, filled_by_version integer, filled_by_retired boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
declare
  known eventsourcing.projection_versions;
begin
  update eventsourcing.projections p set retry_at = clock_timestamp()
  where (p.tenant_id, p.projection, p.version, p.rebuild) in (
    select q.tenant_id, q.projection, q.version, q.rebuild from eventsourcing.projections q
    where q.projection = p_projection and q.version = p_version and q.parked
      and (not q.parked or q.retry_at is not null) and (q.position < q.head or q.rebuild and not q.shared)
    for update skip locked);
  select * into known from eventsourcing.projection_versions v
  where v.projection = p_projection and v.version = p_version;
  if known.retired_at is null and not known.inline and known.tables = p_tables then
    return;
  end if;
  -- of two versions that are registered at the same time, one must see the other
  lock table eventsourcing.projection_versions in share row exclusive mode;
  select * into known from eventsourcing.projection_versions v
  where v.projection = p_projection and v.version = p_version;
  if known.retired_at is not null then
    return query select 'Retired', null::text, null::text, null::integer, null::boolean;
    return;
  elsif known.inline then
    return query select 'Inline', null::text, null::text, null::integer, null::boolean;
    return;
  end if;
  return query select 'TableTaken', t.* from eventsourcing.taken_table(p_projection, p_version, p_tables) t;
  if found then
    return;
  end if;
  insert into eventsourcing.projection_versions (projection, version, tables) values (p_projection, p_version, p_tables)
  on conflict (projection, version) do update set tables = excluded.tables;
  if known.projection is null and p_from_now then
    insert into eventsourcing.projections (tenant_id, projection, version, rebuild, position, head)
    select t.tenant_id, p_projection, p_version, false, log.head, log.head
    from eventsourcing.tenants t
    cross join lateral (
      select coalesce(
        (select e.position from eventsourcing.events e where e.tenant_id = t.tenant_id order by e.position desc limit 1),
        0) as head
    ) log
    order by 1
    on conflict do nothing;
  end if;
end
$$;

ALTER FUNCTION eventsourcing.register_projection(p_projection text, p_version integer, p_tables text[], p_from_now boolean) OWNER TO eventsourcing_runner_owner;

--
-- Name: FUNCTION register_projection(p_projection text, p_version integer, p_tables text[], p_from_now boolean); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

COMMENT ON FUNCTION eventsourcing.register_projection(p_projection text, p_version integer, p_tables text[], p_from_now boolean) IS 'Registers a projection, so that announcements reach it. Returns a row with the reason if it is refused.';

--
-- Name: register_read_model(regclass); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.register_read_model(target regclass) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
declare
  table_name constant text := eventsourcing.read_model_name(target);
  twin       constant text := format('eventsourcing_rebuild.%I', table_name);
begin
  perform eventsourcing.protect_tenant_table(target);
  execute format('grant select, insert, update, delete on %s to eventsourcing_tenant', target);
  execute format('drop table if exists %s', twin);
  execute format('create table %s (like %s including all)', twin, target);
  perform eventsourcing.protect_tenant_table(twin::regclass);
  execute format('grant select, insert, update, delete on %s to eventsourcing_tenant', twin);
  execute format('comment on table %s is %L', twin, 'Twin of ' || target::text || ', filled during a rebuild.');
  delete from eventsourcing.read_models m where m.name = table_name;
  insert into eventsourcing.read_models (name, live_table) values (table_name, target::text);
end
$$;

ALTER FUNCTION eventsourcing.register_read_model(target regclass) OWNER TO postgres;

--
-- Name: FUNCTION register_read_model(target regclass); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.register_read_model(target regclass) IS 'Protects a read model and creates its twin for rebuilds.';

--
-- Name: register_shared_read_model(regclass); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.register_shared_read_model(target regclass) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
declare
  table_name constant text := eventsourcing.read_model_name(target);
  twin       constant text := format('eventsourcing_rebuild.%I', table_name);
  of_tenants constant boolean := exists (
    select from pg_attribute a where a.attrelid = target and a.attname = 'tenant_id' and not a.attisdropped);
begin
  if of_tenants then
    perform eventsourcing.protect_tenant_table(target);
    perform eventsourcing.open_table(target, 'all_tenants', 'all', 'eventsourcing_all_tenants');
  end if;
  execute format('grant select, insert, update, delete on %s to eventsourcing_all_tenants', target);
  execute format('drop table if exists %s', twin);
  execute format('create table %s (like %s including all)', twin, target);
  if of_tenants then
    perform eventsourcing.protect_tenant_table(twin::regclass);
  end if;
  perform eventsourcing.open_table(twin::regclass, 'all_tenants', 'all', 'eventsourcing_all_tenants');
  execute format('grant select, insert, update, delete on %s to eventsourcing_all_tenants', twin);
  execute format('comment on table %s is %L', twin, 'Twin of ' || target::text || ', filled during a rebuild.');
  delete from eventsourcing.read_models m where m.name = table_name;
  insert into eventsourcing.read_models (name, live_table, shared) values (table_name, target::text, true);
end
$$;

ALTER FUNCTION eventsourcing.register_shared_read_model(target regclass) OWNER TO postgres;

--
-- Name: FUNCTION register_shared_read_model(target regclass); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.register_shared_read_model(target regclass) IS 'Lets projections across tenants fill a table, and creates its twin for rebuilds.';

--
-- Name: remove_dead_letter(uuid, text, integer, bigint, text); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.remove_dead_letter(p_tenant uuid, p_projection text, p_version integer, p_position bigint, p_reason text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  if p_reason is not null then
    insert into eventsourcing.discarded_dead_letters
      (tenant_id, projection, version, position, event_id, error, attempts, failed_at, discarded_at, reason)
    select d.tenant_id, d.projection, d.version, d.position, d.event_id, d.error, d.attempts, d.failed_at,
      clock_timestamp(), p_reason
    from eventsourcing.dead_letters d
    where d.tenant_id = p_tenant and d.projection = p_projection and d.version = p_version and not d.rebuild
      and d.position = p_position;
  end if;
  delete from eventsourcing.dead_letters d
  where d.tenant_id = p_tenant and d.projection = p_projection and d.version = p_version and not d.rebuild
    and d.position = p_position;
  return found;
end
$$;

ALTER FUNCTION eventsourcing.remove_dead_letter(p_tenant uuid, p_projection text, p_version integer, p_position bigint, p_reason text) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION remove_dead_letter(p_tenant uuid, p_projection text, p_version integer, p_position bigint, p_reason text); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.remove_dead_letter(p_tenant uuid, p_projection text, p_version integer, p_position bigint, p_reason text) IS 'Removes a dead letter that was replayed or discarded.';

--
-- Name: remove_expired_keys(integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

CREATE FUNCTION eventsourcing.remove_expired_keys(p_limit integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
declare
  moment  constant timestamptz := clock_timestamp();
  removed integer;
begin
  -- Materialized, because a join could repeat the subquery for each key of the table.
  with expired as materialized (
    select k.tenant_id, k.key from eventsourcing.tenants t
    join lateral (
      select x.tenant_id, x.key from eventsourcing.command_keys x
      where x.tenant_id = t.tenant_id and x.expires_at <= moment
      for update skip locked
    ) k on true
    limit p_limit
  )
  delete from eventsourcing.command_keys c using expired
  where c.tenant_id = expired.tenant_id and c.key = expired.key;
  get diagnostics removed = row_count;
  return removed;
end
$$;

ALTER FUNCTION eventsourcing.remove_expired_keys(p_limit integer) OWNER TO eventsourcing_runner_owner;

--
-- Name: FUNCTION remove_expired_keys(p_limit integer); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

COMMENT ON FUNCTION eventsourcing.remove_expired_keys(p_limit integer) IS 'Removes expired command keys of all tenants; returns their number.';

--
-- Name: remove_old_accesses(double precision); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

CREATE FUNCTION eventsourcing.remove_old_accesses(p_seconds double precision) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
declare
  moment  constant timestamptz := clock_timestamp();
  removed integer;
begin
  if p_seconds is null or p_seconds < 604800 then
    raise exception 'records of accesses across tenants must be kept for at least seven days' using errcode = '22023';
  end if;
  delete from eventsourcing.cross_tenant_accesses a where a.accessed_at < moment - p_seconds * interval '1 second';
  get diagnostics removed = row_count;
  if removed > 0 then
    insert into eventsourcing.cross_tenant_accesses (access_id, actor, reason, operation, login)
    -- a UUID of version 7, because the trail is in the order of ids
    select (lpad(to_hex((extract(epoch from moment) * 1000)::bigint), 12, '0') || '7' || substr(r.hex, 1, 3) || '8'
        || substr(r.hex, 4, 15))::uuid,
      'eventsourcing', format('kept for %s days', round((p_seconds / 86400)::numeric, 1)),
      format('remove %s accesses', removed), session_user
    from (select md5(random()::text || clock_timestamp()::text)) r (hex);
  end if;
  return removed;
end
$$;

ALTER FUNCTION eventsourcing.remove_old_accesses(p_seconds double precision) OWNER TO eventsourcing_all_tenants_owner;

--
-- Name: FUNCTION remove_old_accesses(p_seconds double precision); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

COMMENT ON FUNCTION eventsourcing.remove_old_accesses(p_seconds double precision) IS 'Removes old records of accesses across tenants and records the removal; returns their number.';

--
-- Name: remove_snapshot(uuid, text, text); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.remove_snapshot(p_tenant uuid, p_aggregate_type text, p_aggregate_id text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  delete from eventsourcing.snapshots s
  where s.tenant_id = p_tenant and s.aggregate_type = p_aggregate_type and s.aggregate_id = p_aggregate_id;
  return found;
end
$$;

ALTER FUNCTION eventsourcing.remove_snapshot(p_tenant uuid, p_aggregate_type text, p_aggregate_id text) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION remove_snapshot(p_tenant uuid, p_aggregate_type text, p_aggregate_id text); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.remove_snapshot(p_tenant uuid, p_aggregate_type text, p_aggregate_id text) IS 'Removes the snapshot of a stream of the tenant.';

--
-- Name: renew_twins(text[]); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.renew_twins(p_tables text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
declare
  changed record;
begin
  if not has_schema_privilege('eventsourcing_rebuild', 'create') then
    return;
  end if;
  if current_setting('lock_timeout') = '0' then
    -- a rebuild may have locked them, and then be idle for long
    perform set_config('lock_timeout', '10s', true);
  end if;
  for changed in
    select live.oid::regclass as live_table, m.shared
    from eventsourcing.read_models m
    join pg_class live on live.relname = m.name::name
    join pg_namespace n on n.oid = live.relnamespace and format('%I.%I', n.nspname, live.relname) = m.live_table
    left join pg_class twin on twin.relname = m.name::name and twin.relnamespace = 'eventsourcing_rebuild'::regnamespace
    where m.name = any (p_tables) and pg_has_role(live.relowner, 'usage')
      and (twin.oid is null or pg_has_role(twin.relowner, 'usage') and eventsourcing.twin_difference(live.oid, twin.oid) is not null)
  loop
    if changed.shared then
      perform eventsourcing.register_shared_read_model(changed.live_table);
    else
      perform eventsourcing.register_read_model(changed.live_table);
    end if;
  end loop;
end
$$;

ALTER FUNCTION eventsourcing.renew_twins(p_tables text[]) OWNER TO postgres;

--
-- Name: FUNCTION renew_twins(p_tables text[]); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.renew_twins(p_tables text[]) IS 'Replaces the twins of read models that have changed, if the caller is their owner.';

--
-- Name: replace_placement(uuid, uuid, text, text); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

CREATE FUNCTION eventsourcing.replace_placement(p_access uuid, p_tenant uuid, p_from text, p_to text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  if not exists (select from eventsourcing.placements p where p.placement = p_to) then
    raise exception 'unknown placement' using errcode = 'ES005',
      hint = 'call eventsourcing.add_placement as the owner of the database with the directory';
  end if;
  insert into eventsourcing.tenant_directory as d (tenant_id, placement) values (p_tenant, p_to)
  on conflict (tenant_id) do update set placement = excluded.placement where d.placement in (p_from, p_to);
  return found;
end
$$;

ALTER FUNCTION eventsourcing.replace_placement(p_access uuid, p_tenant uuid, p_from text, p_to text) OWNER TO eventsourcing_all_tenants_owner;

--
-- Name: FUNCTION replace_placement(p_access uuid, p_tenant uuid, p_from text, p_to text); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

COMMENT ON FUNCTION eventsourcing.replace_placement(p_access uuid, p_tenant uuid, p_from text, p_to text) IS 'Sets the database of a tenant in the directory after a move.';

--
-- Name: require_cross_tenant_access(uuid); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

CREATE FUNCTION eventsourcing.require_cross_tenant_access(p_access uuid) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
begin
  if not exists (
    select from eventsourcing.cross_tenant_accesses a where a.access_id = p_access and a.login = session_user::text
  ) then
    raise exception 'no recorded cross-tenant access % of this login', p_access using errcode = 'ES004';
  end if;
end
$$;

ALTER FUNCTION eventsourcing.require_cross_tenant_access(p_access uuid) OWNER TO eventsourcing_all_tenants_owner;

--
-- Name: FUNCTION require_cross_tenant_access(p_access uuid); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

COMMENT ON FUNCTION eventsourcing.require_cross_tenant_access(p_access uuid) IS 'Refuses a cross-tenant access that this login has not recorded.';

--
-- Name: require_visible(uuid); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.require_visible(p_tenant uuid) RETURNS void
    LANGUAGE plpgsql
    AS $$
declare
  -- the index has only such tenants, and most often no row
  hidden pg_catalog.text := (
    select t.status from eventsourcing.tenants t
    where t.tenant_id operator(pg_catalog.=) p_tenant
      and (t.status operator(pg_catalog.=) 'importing' or t.status operator(pg_catalog.=) 'moved'
        or t.status operator(pg_catalog.=) 'erased'));
begin
  if hidden is not null and not eventsourcing.is_administered() then
    raise exception 'the tenant is %', hidden using errcode =
      case when hidden operator(pg_catalog.=) 'importing' then 'ES011'
        when hidden operator(pg_catalog.=) 'moved' then 'ES012' else 'ES013' end;
  end if;
end
$$;

ALTER FUNCTION eventsourcing.require_visible(p_tenant uuid) OWNER TO postgres;

--
-- Name: FUNCTION require_visible(p_tenant uuid); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.require_visible(p_tenant uuid) IS 'Refuses the bound tenant if its status hides it from all work.';

--
-- Name: resume_projection(uuid, text, integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.resume_projection(p_tenant uuid, p_projection text, p_version integer) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  update eventsourcing.projections p
  set parked = false, attempts = 0, waited_ms = 0, retry_at = null
  where p.tenant_id = p_tenant and p.projection = p_projection and p.version = p_version and p.parked;
  return found;
end
$$;

ALTER FUNCTION eventsourcing.resume_projection(p_tenant uuid, p_projection text, p_version integer) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION resume_projection(p_tenant uuid, p_projection text, p_version integer); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.resume_projection(p_tenant uuid, p_projection text, p_version integer) IS 'Lets a parked projection try again.';

--
-- Name: resume_projections(uuid, text, integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

CREATE FUNCTION eventsourcing.resume_projections(p_access uuid, p_projection text, p_version integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
declare
  resumed integer;
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  update eventsourcing.projections p
  set parked = false, attempts = 0, waited_ms = 0, retry_at = null
  where p.parked and (p_projection is null or p.projection = p_projection and p.version = p_version);
  get diagnostics resumed = row_count;
  return resumed;
end
$$;

ALTER FUNCTION eventsourcing.resume_projections(p_access uuid, p_projection text, p_version integer) OWNER TO eventsourcing_all_tenants_owner;

--
-- Name: FUNCTION resume_projections(p_access uuid, p_projection text, p_version integer); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

COMMENT ON FUNCTION eventsourcing.resume_projections(p_access uuid, p_projection text, p_version integer) IS 'Lets parked projections try again for all tenants.';

--
-- Name: retire_projection(uuid, text, integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

CREATE FUNCTION eventsourcing.retire_projection(p_access uuid, p_projection text, p_version integer) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  update eventsourcing.projection_versions v set retired_at = clock_timestamp()
  where v.projection = p_projection and v.version = p_version and v.retired_at is null;
  return found;
end
$$;

ALTER FUNCTION eventsourcing.retire_projection(p_access uuid, p_projection text, p_version integer) OWNER TO eventsourcing_runner_owner;

--
-- Name: FUNCTION retire_projection(p_access uuid, p_projection text, p_version integer); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

COMMENT ON FUNCTION eventsourcing.retire_projection(p_access uuid, p_projection text, p_version integer) IS 'Retires a version of a projection for all tenants.';

--
-- Name: save_snapshot(uuid, text, text, integer, bigint, uuid, timestamp with time zone, integer, text, text, text, integer, text); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.save_snapshot(p_tenant uuid, p_aggregate_type text, p_aggregate_id text, p_version integer, p_position bigint, p_event_id uuid, p_recorded_at timestamp with time zone, p_state_version integer, p_fingerprint text, p_checksum text, p_state text, p_useless_version integer, p_useless_checksum text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  perform eventsourcing.require_visible(p_tenant);
  insert into eventsourcing.snapshots as s (
    tenant_id, aggregate_type, aggregate_id, version, position, event_id, recorded_at, state_version, fingerprint,
    checksum, state, taken_at
  )
  values (
    p_tenant, p_aggregate_type, p_aggregate_id, p_version, p_position, p_event_id, p_recorded_at, p_state_version,
    p_fingerprint, p_checksum, p_state, date_trunc('milliseconds', clock_timestamp())
  )
  on conflict (tenant_id, aggregate_type, aggregate_id) do update
  set version = excluded.version, position = excluded.position, event_id = excluded.event_id,
    recorded_at = excluded.recorded_at, state_version = excluded.state_version, fingerprint = excluded.fingerprint,
    checksum = excluded.checksum, state = excluded.state, taken_at = excluded.taken_at
  where s.version <= excluded.version or s.version = p_useless_version and s.checksum = p_useless_checksum;
  return found;
end
$$;

ALTER FUNCTION eventsourcing.save_snapshot(p_tenant uuid, p_aggregate_type text, p_aggregate_id text, p_version integer, p_position bigint, p_event_id uuid, p_recorded_at timestamp with time zone, p_state_version integer, p_fingerprint text, p_checksum text, p_state text, p_useless_version integer, p_useless_checksum text) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION save_snapshot(p_tenant uuid, p_aggregate_type text, p_aggregate_id text, p_version integer, p_position bigint, p_event_id uuid, p_recorded_at timestamp with time zone, p_state_version integer, p_fingerprint text, p_checksum text, p_state text, p_useless_version integer, p_useless_checksum text); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.save_snapshot(p_tenant uuid, p_aggregate_type text, p_aggregate_id text, p_version integer, p_position bigint, p_event_id uuid, p_recorded_at timestamp with time zone, p_state_version integer, p_fingerprint text, p_checksum text, p_state text, p_useless_version integer, p_useless_checksum text) IS 'Saves a snapshot of a stream of the tenant, unless there is a newer one.';

--
-- Name: schema_version(); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.schema_version() RETURNS integer
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$select 1$$;

ALTER FUNCTION eventsourcing.schema_version() OWNER TO postgres;

--
-- Name: FUNCTION schema_version(); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.schema_version() IS 'Number of the schema.';

--
-- Name: set_quota(uuid, uuid, jsonb); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

CREATE FUNCTION eventsourcing.set_quota(p_access uuid, p_tenant uuid, p_quota jsonb) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
declare
  known text;
begin
  perform eventsourcing.administer(p_access, p_tenant);
  select t.status into known from eventsourcing.tenants t where t.tenant_id = p_tenant for no key update;
  if known is null then
    return 'the tenant is not registered here: provision it first';
  elsif known not in ('active', 'suspended', 'importing') then
    return format('the tenant is %s: the quota of an active, suspended or importing tenant can be set', known);
  elsif p_quota ? 'plan' and not exists (select from eventsourcing.plans p where p.name = p_quota ->> 'plan') then
    return format('the plan "%s" is not defined here: define it first', p_quota ->> 'plan');
  end if;
  update eventsourcing.tenants t set quota = p_quota where t.tenant_id = p_tenant;
  return null;
end
$$;

ALTER FUNCTION eventsourcing.set_quota(p_access uuid, p_tenant uuid, p_quota jsonb) OWNER TO eventsourcing_administrator_owner;

--
-- Name: FUNCTION set_quota(p_access uuid, p_tenant uuid, p_quota jsonb); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

COMMENT ON FUNCTION eventsourcing.set_quota(p_access uuid, p_tenant uuid, p_quota jsonb) IS 'Sets the quota of a tenant between two of its appends.';

--
-- Name: set_tenant_status(uuid, uuid, text); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

CREATE FUNCTION eventsourcing.set_tenant_status(p_access uuid, p_tenant uuid, p_status text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
declare
  former text;
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  select t.status into former from eventsourcing.tenants t where t.tenant_id = p_tenant and t.status <> 'elsewhere'
  for no key update;
  update eventsourcing.tenants t set status = p_status where t.tenant_id = p_tenant
    and t.status in ('active', 'suspended') and t.status <> p_status;
  return former;
end
$$;

ALTER FUNCTION eventsourcing.set_tenant_status(p_access uuid, p_tenant uuid, p_status text) OWNER TO eventsourcing_all_tenants_owner;

--
-- Name: FUNCTION set_tenant_status(p_access uuid, p_tenant uuid, p_status text); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

COMMENT ON FUNCTION eventsourcing.set_tenant_status(p_access uuid, p_tenant uuid, p_status text) IS 'Suspends or resumes a tenant, between two of its appends.';

--
-- Name: shared_rebuild_lag(uuid, text, integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

CREATE FUNCTION eventsourcing.shared_rebuild_lag(p_access uuid, p_projection text, p_version integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  return (
    select case when coalesce(bool_or(r.parked), false) then null
      else coalesce(sum(greatest(l.position - coalesce(r.position, 0), 0)), 0) end
    from (
      select p.tenant_id, p.position from eventsourcing.projections p
      where p.projection = p_projection and p.version = p_version and not p.rebuild
    ) l
    full join (
      select p.tenant_id, p.position, p.parked from eventsourcing.projections p
      where p.projection = p_projection and p.version = p_version and p.rebuild
    ) r on r.tenant_id = l.tenant_id)::bigint;
end
$$;

ALTER FUNCTION eventsourcing.shared_rebuild_lag(p_access uuid, p_projection text, p_version integer) OWNER TO eventsourcing_runner_owner;

--
-- Name: FUNCTION shared_rebuild_lag(p_access uuid, p_projection text, p_version integer); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

COMMENT ON FUNCTION eventsourcing.shared_rebuild_lag(p_access uuid, p_projection text, p_version integer) IS 'Number of events that are in a live read model that all tenants share, but not in its rebuild; NULL if that is parked.';

--
-- Name: start_hash_chain(uuid); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.start_hash_chain(p_tenant uuid) RETURNS double precision
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
declare
  chained bigint;
begin
  perform eventsourcing.bind_tenant(p_tenant);
  chained := (select t.chained_from from eventsourcing.tenants t where t.tenant_id = p_tenant for no key update);
  if chained is null then
    -- a statement of its own, so that it sees the commit of the previous holder of the lock
    update eventsourcing.tenants t
    set chained_from = coalesce(
      (select e.position from eventsourcing.events e where e.tenant_id = p_tenant order by e.position desc limit 1), 0) + 1
    where t.tenant_id = p_tenant and t.chained_from is null and t.status in ('active', 'suspended')
    returning t.chained_from into chained;
  end if;
  return chained;
end
$$;

ALTER FUNCTION eventsourcing.start_hash_chain(p_tenant uuid) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION start_hash_chain(p_tenant uuid); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.start_hash_chain(p_tenant uuid) IS 'Starts the hash chain of the tenant; returns its first position.';

--
-- Name: start_rebuild(uuid, text, integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.start_rebuild(p_tenant uuid, p_projection text, p_version integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  insert into eventsourcing.projections (tenant_id, projection, version, rebuild, head)
  values (p_tenant, p_projection, p_version, true, coalesce(
    (select e.position from eventsourcing.events e where e.tenant_id = p_tenant order by e.position desc limit 1), 0))
  on conflict (tenant_id, projection, version, rebuild) do update
    set position = 0, head = excluded.head, parked = false, attempts = 0, failed_position = null, error = null,
      failure_kind = null, waited_ms = 0, retry_at = null, twins = null;
  delete from eventsourcing.dead_letters d
  where d.tenant_id = p_tenant and d.projection = p_projection and d.version = p_version and d.rebuild;
end
$$;

ALTER FUNCTION eventsourcing.start_rebuild(p_tenant uuid, p_projection text, p_version integer) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION start_rebuild(p_tenant uuid, p_projection text, p_version integer); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.start_rebuild(p_tenant uuid, p_projection text, p_version integer) IS 'Starts a rebuild of a projection for the tenant, beside the live read model.';

--
-- Name: start_shared_rebuild(uuid, text, integer, text[], boolean); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.start_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_tables text[], p_restart boolean) RETURNS text
    LANGUAGE plpgsql
    AS $$
declare
  former     pg_catalog.text := pg_catalog.current_setting('role');
  problem    pg_catalog.text;
  begun      boolean;
  read_model pg_catalog.text;
begin
  if pg_catalog.current_setting('lock_timeout') operator(pg_catalog.=) '0' then
    -- a worker may have locked its tenant, and then be idle for long
    perform pg_catalog.set_config('lock_timeout', '10s', true);
  end if;
  perform eventsourcing.require_cross_tenant_access(p_access);
  perform pg_catalog.set_config('role', 'eventsourcing_all_tenants', true);
  problem := eventsourcing.rebuild_problem(p_projection, p_version, p_tables, true);
  if problem is null then
    begun := eventsourcing.begin_shared_rebuild(p_access, p_projection, p_version, p_restart);
    if begun is null then
      problem := 'no runner has been started with it: start one, then rebuild again';
    elsif begun then
      foreach read_model in array p_tables loop
        execute pg_catalog.format('delete from eventsourcing_rebuild.%I', read_model);
      end loop;
    end if;
  end if;
  perform pg_catalog.set_config('role', former, true);
  return problem;
end
$$;

ALTER FUNCTION eventsourcing.start_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_tables text[], p_restart boolean) OWNER TO postgres;

--
-- Name: FUNCTION start_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_tables text[], p_restart boolean); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.start_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_tables text[], p_restart boolean) IS 'Starts a rebuild of a read model that all tenants share, beside the live one.';

--
-- Name: stream_log(uuid, bigint, bigint, text[], text[]); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.stream_log(p_tenant uuid, p_from bigint, p_to bigint, p_aggregate_types text[], p_event_types text[]) RETURNS SETOF eventsourcing.event_chunk
    LANGUAGE sql STABLE
    AS $$
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

ALTER FUNCTION eventsourcing.stream_log(p_tenant uuid, p_from bigint, p_to bigint, p_aggregate_types text[], p_event_types text[]) OWNER TO postgres;

--
-- Name: FUNCTION stream_log(p_tenant uuid, p_from bigint, p_to bigint, p_aggregate_types text[], p_event_types text[]); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.stream_log(p_tenant uuid, p_from bigint, p_to bigint, p_aggregate_types text[], p_event_types text[]) IS 'A part of the log of the tenant, in chunks that are sent as they are made.';

--
-- Name: stream_raw_log(uuid, uuid, bigint, bigint, bigint); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

CREATE FUNCTION eventsourcing.stream_raw_log(p_access uuid, p_tenant uuid, p_from bigint, p_to bigint, p_max_bytes bigint) RETURNS SETOF eventsourcing.event_chunk
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_sort TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
declare
  chunk eventsourcing.event_chunk;
  total bigint := 0;
begin
  perform eventsourcing.administer(p_access, p_tenant);
  for chunk in select c.* from eventsourcing.stream_log(p_tenant, p_from, p_to, null, null) c loop
    return next chunk;
    total := total + coalesce(octet_length(chunk.payloads), 0);
    if total >= p_max_bytes then
      chunk := null;
      chunk.events := 0;
      return next chunk;
      exit;
    end if;
  end loop;
end
$$;

ALTER FUNCTION eventsourcing.stream_raw_log(p_access uuid, p_tenant uuid, p_from bigint, p_to bigint, p_max_bytes bigint) OWNER TO eventsourcing_administrator_owner;

--
-- Name: FUNCTION stream_raw_log(p_access uuid, p_tenant uuid, p_from bigint, p_to bigint, p_max_bytes bigint); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

COMMENT ON FUNCTION eventsourcing.stream_raw_log(p_access uuid, p_tenant uuid, p_from bigint, p_to bigint, p_max_bytes bigint) IS 'One page of a tenant''s log without large events, for its administration.';

--
-- Name: stream_version(uuid, text, text); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.stream_version(p_tenant uuid, p_aggregate_type text, p_aggregate_id text) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_sort TO 'off'
    AS $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  perform eventsourcing.require_visible(p_tenant);
  return coalesce((
    select e.version from eventsourcing.events e
    where e.tenant_id = p_tenant and e.aggregate_type = p_aggregate_type and e.aggregate_id = p_aggregate_id
    order by e.version desc limit 1
  ), 0);
end
$$;

ALTER FUNCTION eventsourcing.stream_version(p_tenant uuid, p_aggregate_type text, p_aggregate_id text) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION stream_version(p_tenant uuid, p_aggregate_type text, p_aggregate_id text); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.stream_version(p_tenant uuid, p_aggregate_type text, p_aggregate_id text) IS 'The version of a stream of the tenant; 0 if it has no events.';

--
-- Name: streams_end_with(text[], text[], text[], integer[], uuid[], integer[]); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.streams_end_with(p_tenants text[], p_aggregate_types text[], p_aggregate_ids text[], p_versions integer[], p_event_ids uuid[], p_forgotten integer[]) RETURNS boolean[]
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_sort TO 'off'
    AS $$
declare
  ends     boolean[] := '{}';
  v_tenant uuid;
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
    elsif n = 1 or p_tenants[n] <> p_tenants[n - 1] then
      v_tenant := set_config('eventsourcing.tenant_id', p_tenants[n], true);
      perform eventsourcing.require_visible(v_tenant);
    end if;
    ends[n] := coalesce((
      select e.version = p_versions[n] and e.event_id = p_event_ids[n]
      from eventsourcing.events e
      where e.tenant_id = v_tenant and e.aggregate_type = p_aggregate_types[n]
        and e.aggregate_id = p_aggregate_ids[n]
      order by e.version desc
      limit 1
    ), false);
    if ends[n] and p_forgotten[n] is not null then
      ends[n] := exists (
        select from eventsourcing.tenants t where t.tenant_id = v_tenant and t.forgotten_subjects = p_forgotten[n]);
    end if;
  end loop;
  return ends;
end
$$;

ALTER FUNCTION eventsourcing.streams_end_with(p_tenants text[], p_aggregate_types text[], p_aggregate_ids text[], p_versions integer[], p_event_ids uuid[], p_forgotten integer[]) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION streams_end_with(p_tenants text[], p_aggregate_types text[], p_aggregate_ids text[], p_versions integer[], p_event_ids uuid[], p_forgotten integer[]); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.streams_end_with(p_tenants text[], p_aggregate_types text[], p_aggregate_ids text[], p_versions integer[], p_event_ids uuid[], p_forgotten integer[]) IS 'For each of several streams: true if the given event is its last one.';

--
-- Name: summarise_blocks(uuid, bigint, bigint); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.summarise_blocks(p_tenant uuid, p_from bigint, p_to bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  insert into eventsourcing.event_blocks (tenant_id, block, event_types, aggregate_types)
  select p_tenant, b.block, t.event_types, t.aggregate_types
  from generate_series((p_from + 1023) / 1024 - 1, p_to / 1024 - 1) b (block)
  cross join lateral (
    select array_agg(distinct g.event_type) as event_types, array_agg(distinct g.aggregate_type) as aggregate_types,
      sum(g.events) as events
    from (
      select e.event_type, e.aggregate_type, count(*) as events
      from eventsourcing.events e
      where e.tenant_id = p_tenant and e.position between b.block * 1024 + 1 and (b.block + 1) * 1024
      group by e.event_type, e.aggregate_type
    ) g
  ) t
  where t.events = 1024
  on conflict do nothing;
end
$$;

ALTER FUNCTION eventsourcing.summarise_blocks(p_tenant uuid, p_from bigint, p_to bigint) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION summarise_blocks(p_tenant uuid, p_from bigint, p_to bigint); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.summarise_blocks(p_tenant uuid, p_from bigint, p_to bigint) IS 'Writes the types of each full block of events that ends between two positions.';

--
-- Name: switch_rebuild(uuid, text, integer, text[], bigint); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.switch_rebuild(p_tenant uuid, p_projection text, p_version integer, p_tables text[], p_position bigint) RETURNS void
    LANGUAGE plpgsql
    AS $_$
declare
  read_model pg_catalog.text;
  live       pg_catalog.regclass; -- not text, so that only the quoted name of an existing relation can be executed
  twin       pg_catalog.text;
  columns    pg_catalog.text;
begin
  perform eventsourcing.bind_tenant(p_tenant);
  foreach read_model in array p_tables loop
    live := (select m.live_table::pg_catalog.regclass from eventsourcing.read_models m where m.name operator(pg_catalog.=) read_model);
    twin := pg_catalog.format('eventsourcing_rebuild.%I', read_model);
    execute pg_catalog.format('delete from %s where tenant_id operator(pg_catalog.=) $1', live) using p_tenant;
    columns := (
      select pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' order by a.attnum)
      from pg_catalog.pg_attribute a
      where a.attrelid operator(pg_catalog.=) live and a.attnum operator(pg_catalog.>) 0 and not a.attisdropped
        and a.attgenerated operator(pg_catalog.=) '' and a.attidentity operator(pg_catalog.=) '');
    execute pg_catalog.format('insert into %s (%s) select %2$s from %s where tenant_id operator(pg_catalog.=) $1', live, columns, twin)
      using p_tenant;
    execute pg_catalog.format('delete from %s where tenant_id operator(pg_catalog.=) $1', twin) using p_tenant;
  end loop;
  perform eventsourcing.finish_rebuild(p_tenant, p_projection, p_version, p_position);
end
$_$;

ALTER FUNCTION eventsourcing.switch_rebuild(p_tenant uuid, p_projection text, p_version integer, p_tables text[], p_position bigint) OWNER TO postgres;

--
-- Name: FUNCTION switch_rebuild(p_tenant uuid, p_projection text, p_version integer, p_tables text[], p_position bigint); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.switch_rebuild(p_tenant uuid, p_projection text, p_version integer, p_tables text[], p_position bigint) IS 'Replaces the live rows by the rebuilt ones.';

--
-- Name: switch_shared_rebuild(uuid, text, integer, text[]); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.switch_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_tables text[]) RETURNS TABLE(state text, problem text)
    LANGUAGE plpgsql
    AS $_$
#variable_conflict use_variable
declare
  former     pg_catalog.text := pg_catalog.current_setting('role');
  live       pg_catalog.regclass;
  columns    pg_catalog.text;
  read_model pg_catalog.text;
begin
  -- short, because workers wait meanwhile
  perform pg_catalog.set_config('lock_timeout', '2s', true);
  perform eventsourcing.require_cross_tenant_access(p_access);
  perform pg_catalog.set_config('role', 'eventsourcing_all_tenants', true);
  state := eventsourcing.prepare_shared_switch(p_access, p_projection, p_version);
  if state operator(pg_catalog.=) 'anew' then
    foreach read_model in array p_tables loop
      execute pg_catalog.format('delete from eventsourcing_rebuild.%I', read_model);
    end loop;
    state := 'waiting';
  elsif state operator(pg_catalog.=) 'ready' then
    problem := eventsourcing.rebuild_problem(p_projection, p_version, p_tables, true);
    if problem is null then
      foreach read_model in array p_tables loop
        live := (select m.live_table::pg_catalog.regclass from eventsourcing.read_models m where m.name operator(pg_catalog.=) read_model);
        execute pg_catalog.format('lock table %s, eventsourcing_rebuild.%I in share row exclusive mode', live, read_model);
      end loop;
      -- the tables cannot change any more
      problem := eventsourcing.rebuild_problem(p_projection, p_version, p_tables, true);
    end if;
    if problem is not null then
      perform eventsourcing.park_shared_rebuild(p_access, p_projection, p_version, problem);
      state := 'refused';
    elsif coalesce(eventsourcing.shared_rebuild_lag(p_access, p_projection, p_version) operator(pg_catalog.<>) 0, true) then
      -- a worker has finished work for a new tenant
      state := 'waiting';
    else
      foreach read_model in array p_tables loop
        live := (select m.live_table::pg_catalog.regclass from eventsourcing.read_models m where m.name operator(pg_catalog.=) read_model);
        columns := (
          select pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' order by a.attnum)
          from pg_catalog.pg_attribute a
          where a.attrelid operator(pg_catalog.=) live and a.attnum operator(pg_catalog.>) 0 and not a.attisdropped
            and a.attgenerated operator(pg_catalog.=) '' and a.attidentity operator(pg_catalog.=) '');
        execute pg_catalog.format('delete from %s', live);
        execute pg_catalog.format('insert into %s (%s) select %2$s from eventsourcing_rebuild.%I', live, columns, read_model);
        execute pg_catalog.format('delete from eventsourcing_rebuild.%I', read_model);
      end loop;
      perform eventsourcing.finish_shared_rebuild(p_access, p_projection, p_version);
      state := 'switched';
    end if;
  end if;
  perform pg_catalog.set_config('role', former, true);
  return next;
end
$_$;

ALTER FUNCTION eventsourcing.switch_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_tables text[]) OWNER TO postgres;

--
-- Name: FUNCTION switch_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_tables text[]); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.switch_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_tables text[]) IS 'Replaces the live rows of a read model that all tenants share by the rebuilt ones, if this is possible yet.';

--
-- Name: tables_of_tenants(); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.tables_of_tenants() RETURNS TABLE(target oid, name text, handling text, reason text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
  select c.oid, t.name, coalesce(d.handling, case when m.name is not null then 'derived' end), d.reason
  from pg_policy p
  join pg_class c on c.oid = p.polrelid and c.relkind in ('r', 'p') and not c.relispartition
  join pg_namespace n on n.oid = c.relnamespace and n.nspname not in ('eventsourcing', 'eventsourcing_rebuild')
  cross join lateral (select format('%I.%I', n.nspname, c.relname)) t (name)
  left join eventsourcing.declared_tables d on d.name = t.name
  left join eventsourcing.read_models m on to_regclass(m.live_table) = c.oid or m.name = c.relname and m.live_table = t.name
  where p.polname = 'tenant_isolation'
  order by t.name collate "C"
$$;

ALTER FUNCTION eventsourcing.tables_of_tenants() OWNER TO postgres;

--
-- Name: FUNCTION tables_of_tenants(); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.tables_of_tenants() IS 'The tables of the application with rows of tenants, and their declared parts in exports and moves.';

--
-- Name: taken_table(text, integer, text[]); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

CREATE FUNCTION eventsourcing.taken_table(p_projection text, p_version integer, p_tables text[]) RETURNS TABLE(read_model text, filled_by text, filled_by_version integer, filled_by_retired boolean)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
  select t.name, v.projection::text, v.version, v.retired_at is not null
  from eventsourcing.projection_versions v
  cross join lateral unnest(v.tables) t (name)
  where t.name = any (p_tables) and (v.projection, v.version) <> (p_projection, p_version)
  order by v.retired_at is not null, v.version desc
  limit 1
$$;

ALTER FUNCTION eventsourcing.taken_table(p_projection text, p_version integer, p_tables text[]) OWNER TO eventsourcing_runner_owner;

--
-- Name: FUNCTION taken_table(p_projection text, p_version integer, p_tables text[]); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

COMMENT ON FUNCTION eventsourcing.taken_table(p_projection text, p_version integer, p_tables text[]) IS 'The first of the tables that another projection or version fills, and that one.';

--
-- Name: tenant_overviews(uuid, text, text[], text, double precision, uuid, integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

CREATE FUNCTION eventsourcing.tenant_overviews(p_access uuid, p_order text, p_statuses text[], p_prefix text, p_after_value double precision, p_after_tenant uuid, p_limit integer) RETURNS SETOF jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
declare
  moment constant timestamptz := clock_timestamp();
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  return query
    -- read at once, because a look-up for each tenant takes longer; nothing is read for another order
    with behind as materialized (
      select p.tenant_id, min(p.position) as position from eventsourcing.projections p
      where p_order = 'distance' and not p.rebuild
      group by p.tenant_id
    ), valued as materialized (
      select t.*, (case p_order
        when 'head' then (
          select e.position from eventsourcing.events e where e.tenant_id = t.tenant_id order by e.position desc limit 1)
        when 'lastAppend' then (
          select (extract(epoch from e.recorded_at) * 1000)::bigint from eventsourcing.events e
          where e.tenant_id = t.tenant_id order by e.position desc limit 1)
        when 'deadLetters' then (
          select count(*) from eventsourcing.dead_letters d where d.tenant_id = t.tenant_id and not d.rebuild)
        when 'distance' then case when b.position is not null then greatest(0, (
          select e.position from eventsourcing.events e where e.tenant_id = t.tenant_id order by e.position desc limit 1
        ) - b.position) end
      end)::double precision as value
      from eventsourcing.tenants t
      left join behind b on b.tenant_id = t.tenant_id
      where t.status <> 'elsewhere' and (p_statuses is null or t.status = any (p_statuses))
        and (p_prefix is null or starts_with(t.tenant_id::text, p_prefix))
    ), page as (
      select v.*, coalesce(v.value, 0) as place from valued v
      where p_after_tenant is null or coalesce(v.value, 0) < p_after_value
        or coalesce(v.value, 0) = p_after_value and v.tenant_id > p_after_tenant
      order by place desc, v.tenant_id
      limit p_limit
    )
    select jsonb_build_object(
      'tenantId', t.tenant_id, 'value', t.place, 'status', t.status,
      'createdAt', (extract(epoch from t.created_at) * 1000)::bigint,
      'position', coalesce(e.position, 0), 'lastAppendAt', (extract(epoch from e.recorded_at) * 1000)::bigint,
      'lastDay', case when e.recorded_at >= moment - interval '24 hours'
        then e.position + 1 - eventsourcing.usage_position(t.tenant_id, e.position, moment - interval '24 hours') else 0 end,
      'lastWeek', case when e.recorded_at >= moment - interval '168 hours'
        then e.position + 1 - eventsourcing.usage_position(t.tenant_id, e.position, moment - interval '168 hours') else 0 end,
      'deadLetters', (select count(*) from eventsourcing.dead_letters d where d.tenant_id = t.tenant_id and not d.rebuild),
      'slowest', (
        select jsonb_build_object('projection', p.projection, 'version', p.version,
          'distance', greatest(0, coalesce(e.position, 0) - p.position))
        from eventsourcing.projections p where p.tenant_id = t.tenant_id and not p.rebuild
        order by p.position, p.projection, p.version limit 1),
      'quota', t.quota, 'hold', t.hold,
      'move', case when t.status in ('importing', 'moving') then t.undertaking -> 'move' ->> 'id' end)
    from page t
    left join lateral (
      select x.position, x.recorded_at from eventsourcing.events x
      where x.tenant_id = t.tenant_id order by x.position desc limit 1
    ) e on true
    order by t.place desc, t.tenant_id;
end
$$;

ALTER FUNCTION eventsourcing.tenant_overviews(p_access uuid, p_order text, p_statuses text[], p_prefix text, p_after_value double precision, p_after_tenant uuid, p_limit integer) OWNER TO eventsourcing_all_tenants_owner;

--
-- Name: FUNCTION tenant_overviews(p_access uuid, p_order text, p_statuses text[], p_prefix text, p_after_value double precision, p_after_tenant uuid, p_limit integer); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

COMMENT ON FUNCTION eventsourcing.tenant_overviews(p_access uuid, p_order text, p_statuses text[], p_prefix text, p_after_value double precision, p_after_tenant uuid, p_limit integer) IS 'One page of the tenants with their ends and their work, for operators.';

--
-- Name: tenant_placement(uuid); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.tenant_placement(p_tenant uuid) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  return (select d.placement from eventsourcing.tenant_directory d where d.tenant_id = p_tenant);
end
$$;

ALTER FUNCTION eventsourcing.tenant_placement(p_tenant uuid) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION tenant_placement(p_tenant uuid); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.tenant_placement(p_tenant uuid) IS 'The placement of the tenant.';

--
-- Name: tenant_status(uuid); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.tenant_status(p_tenant uuid) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
declare
  known record;
begin
  perform eventsourcing.bind_tenant(p_tenant);
  select t.status, (t.undertaking ->> 'until')::bigint as until into known from eventsourcing.tenants t where t.tenant_id = p_tenant;
  if known.status = 'moving' and known.until <= extract(epoch from clock_timestamp()) * 1000
    and current_setting('transaction_read_only') = 'off'
  then
    return eventsourcing.end_expired_move(p_tenant);
  end if;
  return known.status;
end
$$;

ALTER FUNCTION eventsourcing.tenant_status(p_tenant uuid) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION tenant_status(p_tenant uuid); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.tenant_status(p_tenant uuid) IS 'active, suspended, moving, importing, moved, erased, elsewhere (it has another database), or NULL for an unknown tenant.';

--
-- Name: tenant_under_import(uuid, uuid, uuid); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

CREATE FUNCTION eventsourcing.tenant_under_import(p_access uuid, p_tenant uuid, p_token uuid) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
declare
  known record;
begin
  perform eventsourcing.administer(p_access, p_tenant);
  select t.status, t.undertaking into known from eventsourcing.tenants t where t.tenant_id = p_tenant for no key update;
  return case
    when known.status is null then 'the tenant is not registered: begin the import'
    when known.status <> 'importing' then format('the tenant is %s: only an import writes its content', known.status)
    when known.undertaking ->> 'token' <> p_token::text then 'another import writes the tenant: end or purge that one first'
  end;
end
$$;

ALTER FUNCTION eventsourcing.tenant_under_import(p_access uuid, p_tenant uuid, p_token uuid) OWNER TO eventsourcing_administrator_owner;

--
-- Name: FUNCTION tenant_under_import(p_access uuid, p_tenant uuid, p_token uuid); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

COMMENT ON FUNCTION eventsourcing.tenant_under_import(p_access uuid, p_tenant uuid, p_token uuid) IS 'Locks a tenant for its import, and checks the token.';

--
-- Name: tenants_beyond_share(); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

CREATE FUNCTION eventsourcing.tenants_beyond_share() RETURNS bigint[]
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  -- Reading all locks takes longer than a claim, and only so many projections, live or rebuilt, can give a tenant 30 claims.
  if (select count(*) from eventsourcing.projection_versions v where v.retired_at is null and not v.inline) < 15 then
    return '{}';
  end if;
  return array(
    select c.hash
    from (
      select l.objid::bigint as hash, count(*) as own, sum(count(*)) over () as total
      from pg_locks l
      where l.locktype = 'advisory' and l.classid = 1702261875 and l.objsubid = 2
        and l.database = (select d.oid from pg_database d where d.datname = current_database())
      group by l.objid
    ) c
    where c.own >= 30 and c.own > c.total * 0.1);
end
$$;

ALTER FUNCTION eventsourcing.tenants_beyond_share() OWNER TO eventsourcing_runner_owner;

--
-- Name: FUNCTION tenants_beyond_share(); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

COMMENT ON FUNCTION eventsourcing.tenants_beyond_share() IS 'Hashes of the tenants whose projections have more than their share of the workers.';

--
-- Name: twin_difference(oid, oid); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.twin_difference(p_live oid, p_twin oid) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
  with part (relation, detail) as (
    select a.attrelid, concat_ws(' ', 'column', a.attname, format_type(a.atttypid, a.atttypmod),
      case when a.attcollation <> t.typcollation then 'collate ' || a.attcollation::regcollation end,
      case when a.attnotnull then 'not null' end,
      case when a.attidentity <> '' then 'identity' when a.attgenerated <> '' then 'generated' end,
      'default ' || pg_get_expr(d.adbin, d.adrelid))
    from pg_attribute a join pg_type t on t.oid = a.atttypid
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attrelid in (p_live, p_twin) and a.attnum > 0 and not a.attisdropped
    union all
    select c.conrelid, pg_get_constraintdef(c.oid)
    from pg_constraint c where c.conrelid in (p_live, p_twin) and c.contype in ('p', 'u', 'c', 'x')
    union all
    select i.indrelid, concat_ws(' ', 'unique index on',
      (select string_agg(pg_get_indexdef(i.indexrelid, k, true), ', ' order by k) from generate_series(1, i.indnkeyatts) k),
      pg_get_expr(i.indpred, i.indrelid))
    from pg_index i where i.indrelid in (p_live, p_twin) and i.indisunique
  )
  select string_agg(detail, '; ' order by detail)
  from (select detail from part group by detail having count(distinct relation) = 1 limit 3) one_sided
$$;

ALTER FUNCTION eventsourcing.twin_difference(p_live oid, p_twin oid) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION twin_difference(p_live oid, p_twin oid); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.twin_difference(p_live oid, p_twin oid) IS 'Differences between a read model and its twin; NULL if there are none.';

--
-- Name: twins_of(text[]); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_tenant
--

CREATE FUNCTION eventsourcing.twins_of(p_tables text[]) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
  select coalesce(string_agg(c.oid::text, ',' order by c.relname), '')
  from pg_class c
  where c.relnamespace = 'eventsourcing_rebuild'::regnamespace and c.relkind = 'r' and c.relname = any (p_tables::name[])
$$;

ALTER FUNCTION eventsourcing.twins_of(p_tables text[]) OWNER TO eventsourcing_tenant;

--
-- Name: FUNCTION twins_of(p_tables text[]); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_tenant
--

COMMENT ON FUNCTION eventsourcing.twins_of(p_tables text[]) IS 'The identity of the present twins of read models.';

--
-- Name: unregister_read_model(text); Type: FUNCTION; Schema: eventsourcing; Owner: postgres
--

CREATE FUNCTION eventsourcing.unregister_read_model(read_model text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
declare
  used eventsourcing.projection_versions;
begin
  select * into used from eventsourcing.projection_versions v
  where read_model = any (v.tables) and v.retired_at is null limit 1;
  if found then
    raise exception 'read model % is filled by projection %, version %', read_model, used.projection, used.version
      using hint = 'retire that version first (ProjectionManager.retire)';
  end if;
  execute format('drop table if exists eventsourcing_rebuild.%I', read_model);
  delete from eventsourcing.read_models m where m.name = read_model;
  update eventsourcing.projection_versions v set tables = array_remove(v.tables, read_model)
  where read_model = any (v.tables);
end
$$;

ALTER FUNCTION eventsourcing.unregister_read_model(read_model text) OWNER TO postgres;

--
-- Name: FUNCTION unregister_read_model(read_model text); Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON FUNCTION eventsourcing.unregister_read_model(read_model text) IS 'Unregisters a read model, so that it can be dropped, or emptied and filled by another version.';

--
-- Name: unseen_tenants(boolean); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

CREATE FUNCTION eventsourcing.unseen_tenants(p_moving boolean) RETURNS uuid[]
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
begin
  return array(
    select t.tenant_id from eventsourcing.tenants t
    where t.status in ('importing', 'moving', 'moved', 'erased') and (p_moving or t.status <> 'moving')
      and t.undertaking -> 'purged' is null);
end
$$;

ALTER FUNCTION eventsourcing.unseen_tenants(p_moving boolean) OWNER TO eventsourcing_all_tenants_owner;

--
-- Name: FUNCTION unseen_tenants(p_moving boolean); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

COMMENT ON FUNCTION eventsourcing.unseen_tenants(p_moving boolean) IS 'The tenants with rows that are hidden from work across tenants.';

--
-- Name: usage(uuid, timestamp with time zone, timestamp with time zone, uuid, timestamp with time zone, integer); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

CREATE FUNCTION eventsourcing.usage(p_access uuid, p_from timestamp with time zone, p_before timestamp with time zone, p_after_tenant uuid, p_after_day timestamp with time zone, p_limit integer) RETURNS TABLE(tenant_id uuid, day timestamp with time zone, events double precision, bytes double precision, streams double precision, new_streams double precision, more boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
#variable_conflict use_column
declare
  v_tenant    uuid;
  v_head      bigint;
  v_head_time timestamptz;
  v_first     bigint;
  v_next      bigint;
  v_time      timestamptz;
  found_days  integer := 0;
  read_events bigint := 0;
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  for v_tenant in
    select t.tenant_id from eventsourcing.tenants t
    where t.tenant_id >= coalesce(p_after_tenant, '00000000-0000-0000-0000-000000000000')
      and t.status not in ('importing', 'moved', 'erased')
    order by t.tenant_id
  loop
    v_time := p_from;
    if v_tenant = p_after_tenant then
      v_time := greatest(v_time, p_after_day + interval '24 hours');
    end if;
    v_head := null;
    select e.position, e.recorded_at into v_head, v_head_time from eventsourcing.events e
    where e.tenant_id = v_tenant order by e.position desc limit 1;
    continue when v_head is null or v_head_time < v_time;
    v_first := eventsourcing.usage_position(v_tenant, v_head, v_time);
    while v_first <= v_head loop
      v_time := (
        select e.recorded_at from eventsourcing.events e where e.tenant_id = v_tenant and e.position = v_first);
      exit when v_time >= p_before;
      -- the previous day is returned only now, because now it is known not to be the last one
      if found_days > 0 then
        more := found_days >= p_limit or read_events >= 250000;
        return next;
        if more then
          return;
        end if;
      end if;
      tenant_id := v_tenant;
      day := date_trunc('day', v_time, 'UTC');
      v_next := eventsourcing.usage_position(v_tenant, v_head, least(day + interval '24 hours', p_before));
      -- positions have no gaps
      events := v_next - v_first;
      select sum(e.bytes), count(distinct (e.aggregate_type, e.aggregate_id)), count(*) filter (where e.version = 1)
      into bytes, streams, new_streams
      from eventsourcing.events e where e.tenant_id = v_tenant and e.position between v_first and v_next - 1;
      found_days := found_days + 1;
      read_events := read_events + v_next - v_first;
      v_first := v_next;
    end loop;
  end loop;
  if found_days > 0 then
    more := false;
    return next;
  end if;
end
$$;

ALTER FUNCTION eventsourcing.usage(p_access uuid, p_from timestamp with time zone, p_before timestamp with time zone, p_after_tenant uuid, p_after_day timestamp with time zone, p_limit integer) OWNER TO eventsourcing_all_tenants_owner;

--
-- Name: FUNCTION usage(p_access uuid, p_from timestamp with time zone, p_before timestamp with time zone, p_after_tenant uuid, p_after_day timestamp with time zone, p_limit integer); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

COMMENT ON FUNCTION eventsourcing.usage(p_access uuid, p_from timestamp with time zone, p_before timestamp with time zone, p_after_tenant uuid, p_after_day timestamp with time zone, p_limit integer) IS 'One page of the usage of tenants, by tenant and day.';

--
-- Name: usage_position(uuid, bigint, timestamp with time zone); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

CREATE FUNCTION eventsourcing.usage_position(p_tenant uuid, p_head bigint, p_time timestamp with time zone) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
declare
  low    bigint := 1;
  high   bigint := p_head + 1;
  middle bigint;
begin
  while low < high loop
    middle := (low + high) / 2;
    if (select e.recorded_at from eventsourcing.events e where e.tenant_id = p_tenant and e.position = middle) >= p_time then
      high := middle;
    else
      low := middle + 1;
    end if;
  end loop;
  return low;
end
$$;

ALTER FUNCTION eventsourcing.usage_position(p_tenant uuid, p_head bigint, p_time timestamp with time zone) OWNER TO eventsourcing_all_tenants_owner;

--
-- Name: FUNCTION usage_position(p_tenant uuid, p_head bigint, p_time timestamp with time zone); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

COMMENT ON FUNCTION eventsourcing.usage_position(p_tenant uuid, p_head bigint, p_time timestamp with time zone) IS 'First position of a tenant''s log recorded at or after a time.';

--
-- Name: write_events(uuid, uuid, uuid, bigint, text[], text[], integer[], uuid[], text[], integer[], timestamp with time zone[], timestamp with time zone[], text[], text[], text[], text[], text[], text[], text[], text[]); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

CREATE FUNCTION eventsourcing.write_events(p_access uuid, p_tenant uuid, p_token uuid, p_first bigint, p_aggregate_types text[], p_aggregate_ids text[], p_versions integer[], p_event_ids uuid[], p_event_types text[], p_schema_versions integer[], p_occurred_at timestamp with time zone[], p_recorded_at timestamp with time zone[], p_actors text[], p_correlation_ids text[], p_causation_ids text[], p_metadata text[], p_payloads text[], p_tags text[], p_hashes text[], p_traceparents text[]) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
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

ALTER FUNCTION eventsourcing.write_events(p_access uuid, p_tenant uuid, p_token uuid, p_first bigint, p_aggregate_types text[], p_aggregate_ids text[], p_versions integer[], p_event_ids uuid[], p_event_types text[], p_schema_versions integer[], p_occurred_at timestamp with time zone[], p_recorded_at timestamp with time zone[], p_actors text[], p_correlation_ids text[], p_causation_ids text[], p_metadata text[], p_payloads text[], p_tags text[], p_hashes text[], p_traceparents text[]) OWNER TO eventsourcing_administrator_owner;

--
-- Name: FUNCTION write_events(p_access uuid, p_tenant uuid, p_token uuid, p_first bigint, p_aggregate_types text[], p_aggregate_ids text[], p_versions integer[], p_event_ids uuid[], p_event_types text[], p_schema_versions integer[], p_occurred_at timestamp with time zone[], p_recorded_at timestamp with time zone[], p_actors text[], p_correlation_ids text[], p_causation_ids text[], p_metadata text[], p_payloads text[], p_tags text[], p_hashes text[], p_traceparents text[]); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

COMMENT ON FUNCTION eventsourcing.write_events(p_access uuid, p_tenant uuid, p_token uuid, p_first bigint, p_aggregate_types text[], p_aggregate_ids text[], p_versions integer[], p_event_ids uuid[], p_event_types text[], p_schema_versions integer[], p_occurred_at timestamp with time zone[], p_recorded_at timestamp with time zone[], p_actors text[], p_correlation_ids text[], p_causation_ids text[], p_metadata text[], p_payloads text[], p_tags text[], p_hashes text[], p_traceparents text[]) IS 'Writes events of an import as given.';

--
-- Name: write_tenant_rows(uuid, uuid, uuid, text, jsonb); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

CREATE FUNCTION eventsourcing.write_tenant_rows(p_access uuid, p_tenant uuid, p_token uuid, p_kind text, p_rows jsonb) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
declare
  refused constant text := eventsourcing.tenant_under_import(p_access, p_tenant, p_token);
  moment  constant timestamptz := clock_timestamp();
begin
  if refused is not null then
    return refused;
  end if;
  case p_kind
    when 'commandKeys' then
      insert into eventsourcing.command_keys (
        tenant_id, key, fingerprint, aggregate_type, aggregate_id, version, position, events, recorded_at, expires_at
      )
      select p_tenant, r.key, r.fingerprint, r."aggregateType", r."aggregateId", r.version, r.position, r.events,
        to_timestamp(r."recordedAt" / 1000.0), moment + r."expiresInMillis" * interval '1 millisecond'
      from jsonb_to_recordset(p_rows) r (key text, fingerprint text, "aggregateType" text, "aggregateId" text, version integer,
        position bigint, events integer, "recordedAt" bigint, "expiresInMillis" double precision)
      on conflict (tenant_id, key) do update set
        fingerprint = excluded.fingerprint, aggregate_type = excluded.aggregate_type, aggregate_id = excluded.aggregate_id,
        version = excluded.version, position = excluded.position, events = excluded.events,
        recorded_at = excluded.recorded_at, expires_at = excluded.expires_at;
    when 'deadLetters' then
      delete from eventsourcing.dead_letters d where d.tenant_id = p_tenant;
      delete from eventsourcing.discarded_dead_letters d where d.tenant_id = p_tenant;
      with letters as (
        select * from jsonb_to_recordset(p_rows) r (projection text, version integer, position bigint, "eventId" uuid, error text,
          attempts integer, "failedAt" bigint, discarded jsonb)
      ), live as (
        insert into eventsourcing.dead_letters (
          tenant_id, projection, version, rebuild, position, event_id, error, attempts, failed_at)
        select p_tenant, r.projection, r.version, false, r.position, r."eventId", r.error, r.attempts,
          to_timestamp(r."failedAt" / 1000.0)
        from letters r where r.discarded is null
      )
      insert into eventsourcing.discarded_dead_letters (
        tenant_id, projection, version, position, event_id, error, attempts, failed_at, discarded_at, reason)
      select p_tenant, r.projection, r.version, r.position, r."eventId", r.error, r.attempts,
        to_timestamp(r."failedAt" / 1000.0), to_timestamp((r.discarded ->> 'at')::bigint / 1000.0), r.discarded ->> 'reason'
      from letters r where r.discarded is not null;
    when 'progress' then
      insert into eventsourcing.projections as p (
        tenant_id, projection, version, rebuild, position, head, parked, attempts, failed_position, error
      )
      select p_tenant, r.projection, r.version, false, r.position, h.position, r.parked, r.attempts, r."failedPosition", r.error
      from jsonb_to_recordset(p_rows) r (projection text, version integer, position bigint, parked boolean, attempts integer,
        "failedPosition" bigint, error text)
      cross join (select coalesce(max(e.position), 0) as position from eventsourcing.events e where e.tenant_id = p_tenant) h
      on conflict (tenant_id, projection, version, rebuild) do update set
        position = excluded.position, head = excluded.head, parked = excluded.parked, attempts = excluded.attempts,
        failed_position = excluded.failed_position, error = excluded.error, failure_kind = null, waited_ms = 0, retry_at = null;
    when 'subjects' then
      -- one row with the number, and one for each subject
      update eventsourcing.tenants t set forgotten_subjects = (p_rows -> 0 -> 'forgotten')::integer where t.tenant_id = p_tenant;
      insert into eventsourcing.subjects (tenant_id, subject, number, forgotten, begun, hold)
      select p_tenant, r.subject, r.number, r.forgotten, r.begun, r.hold
      from jsonb_to_recordset(p_rows - 0) r (subject text, number integer, forgotten jsonb, begun uuid, hold jsonb)
      on conflict (tenant_id, subject) do update set
        number = excluded.number, forgotten = excluded.forgotten, begun = excluded.begun, hold = excluded.hold;
    else
      raise exception 'unknown rows %', p_kind using errcode = '22023';
  end case;
  return null;
end
$$;

ALTER FUNCTION eventsourcing.write_tenant_rows(p_access uuid, p_tenant uuid, p_token uuid, p_kind text, p_rows jsonb) OWNER TO eventsourcing_administrator_owner;

--
-- Name: FUNCTION write_tenant_rows(p_access uuid, p_tenant uuid, p_token uuid, p_kind text, p_rows jsonb); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

COMMENT ON FUNCTION eventsourcing.write_tenant_rows(p_access uuid, p_tenant uuid, p_token uuid, p_kind text, p_rows jsonb) IS 'Writes rows of an import beside the log.';

--
-- Name: write_tenant_table(uuid, uuid, uuid, text, text, boolean); Type: FUNCTION; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

CREATE FUNCTION eventsourcing.write_tenant_table(p_access uuid, p_tenant uuid, p_token uuid, p_table text, p_rows text, p_replace boolean) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $_$
declare
  refused constant text := eventsourcing.tenant_under_import(p_access, p_tenant, p_token);
  key     constant text := eventsourcing.carried_key(p_table);
  written text; -- the columns that are not generated
begin
  if refused is not null or key is null then
    return coalesce(refused, format('table %s is not declared as carried here: run eventsourcing.declare_table as its owner', p_table));
  end if;
  written := (
    select string_agg(quote_ident(a.attname), ', ' order by a.attnum) from pg_attribute a
    where a.attrelid = p_table::regclass and a.attnum > 0 and not a.attisdropped and a.attgenerated = '');
  if p_replace then
    execute format('delete from %s t where t.tenant_id = $1', p_table) using p_tenant;
  else
    execute format(
      'delete from %1$s t using json_populate_recordset(null::%1$s, $2::json) r where t.tenant_id = $1 and (%2$s) = (%3$s)',
      p_table, key, replace(replace(key, 't.tenant_id', '$1'), 't.', 'r.')) using p_tenant, p_rows;
  end if;
  execute format(
    'insert into %1$s (%2$s) overriding system value select %3$s from json_populate_recordset(null::%1$s, $2::json) r',
    p_table, written, regexp_replace(written, '\mtenant_id\M', '$1')) using p_tenant, p_rows;
  return null;
end
$_$;

ALTER FUNCTION eventsourcing.write_tenant_table(p_access uuid, p_tenant uuid, p_token uuid, p_table text, p_rows text, p_replace boolean) OWNER TO eventsourcing_administrator_owner;

--
-- Name: FUNCTION write_tenant_table(p_access uuid, p_tenant uuid, p_token uuid, p_table text, p_rows text, p_replace boolean); Type: COMMENT; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

COMMENT ON FUNCTION eventsourcing.write_tenant_table(p_access uuid, p_tenant uuid, p_token uuid, p_table text, p_rows text, p_replace boolean) IS 'Writes rows of an import to a carried table.';

--
-- Name: command_keys; Type: TABLE; Schema: eventsourcing; Owner: postgres
--

CREATE TABLE eventsourcing.command_keys (
    tenant_id uuid NOT NULL,
    key text NOT NULL COLLATE pg_catalog."C",
    fingerprint text NOT NULL,
    aggregate_type text NOT NULL,
    aggregate_id text NOT NULL,
    version integer NOT NULL,
    "position" bigint NOT NULL,
    events integer NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL
);

ALTER TABLE ONLY eventsourcing.command_keys FORCE ROW LEVEL SECURITY;

ALTER TABLE eventsourcing.command_keys OWNER TO postgres;

--
-- Name: TABLE command_keys; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON TABLE eventsourcing.command_keys IS 'Commands that were run under a key, with their outcomes: the version of the stream and the last position of the log afterwards, and the number of events.';

--
-- Name: COLUMN command_keys.fingerprint; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.command_keys.fingerprint IS 'Hash of the command, to refuse another command with the same key.';

--
-- Name: COLUMN command_keys.expires_at; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.command_keys.expires_at IS 'After this time the key counts as unused.';

--
-- Name: dead_letters; Type: TABLE; Schema: eventsourcing; Owner: postgres
--

CREATE TABLE eventsourcing.dead_letters (
    tenant_id uuid NOT NULL,
    projection text NOT NULL COLLATE pg_catalog."C",
    version integer NOT NULL,
    rebuild boolean NOT NULL,
    "position" bigint NOT NULL,
    event_id uuid NOT NULL,
    error text NOT NULL,
    attempts integer NOT NULL,
    failed_at timestamp with time zone NOT NULL
);

ALTER TABLE ONLY eventsourcing.dead_letters FORCE ROW LEVEL SECURITY;

ALTER TABLE eventsourcing.dead_letters OWNER TO postgres;

--
-- Name: TABLE dead_letters; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON TABLE eventsourcing.dead_letters IS 'Events that a projection gave up on and skipped. The events themselves are in the log.';

--
-- Name: COLUMN dead_letters.rebuild; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.dead_letters.rebuild IS 'True if a rebuild gave up on it. It becomes visible when the rebuild replaces the live read model.';

--
-- Name: declared_tables; Type: TABLE; Schema: eventsourcing; Owner: postgres
--

CREATE TABLE eventsourcing.declared_tables (
    name text NOT NULL COLLATE pg_catalog."C",
    handling text NOT NULL,
    reason text,
    CONSTRAINT declared_tables_handling_check CHECK ((handling = ANY (ARRAY['derived'::text, 'carried'::text, 'keptOut'::text]))),
    CONSTRAINT declared_tables_reason CHECK (((handling <> 'keptOut'::text) OR (reason IS NOT NULL))),
    CONSTRAINT declared_tables_reason_check CHECK ((reason <> ''::text))
);

ALTER TABLE ONLY eventsourcing.declared_tables FORCE ROW LEVEL SECURITY;

ALTER TABLE eventsourcing.declared_tables OWNER TO postgres;

--
-- Name: TABLE declared_tables; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON TABLE eventsourcing.declared_tables IS 'Tables of the application with rows of tenants, and their part in exports and moves. They belong to the application, not to a tenant.';

--
-- Name: COLUMN declared_tables.handling; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.declared_tables.handling IS 'derived: rebuilt from the log; carried: exported and moved; keptOut: neither, for the reason.';

--
-- Name: discarded_dead_letters; Type: TABLE; Schema: eventsourcing; Owner: postgres
--

CREATE TABLE eventsourcing.discarded_dead_letters (
    tenant_id uuid NOT NULL,
    projection text NOT NULL COLLATE pg_catalog."C",
    version integer NOT NULL,
    "position" bigint NOT NULL,
    event_id uuid NOT NULL,
    error text NOT NULL,
    attempts integer NOT NULL,
    failed_at timestamp with time zone NOT NULL,
    discarded_at timestamp with time zone NOT NULL,
    reason text NOT NULL,
    CONSTRAINT discarded_dead_letters_reason_check CHECK ((reason <> ''::text))
);

ALTER TABLE ONLY eventsourcing.discarded_dead_letters FORCE ROW LEVEL SECURITY;

ALTER TABLE eventsourcing.discarded_dead_letters OWNER TO postgres;

--
-- Name: TABLE discarded_dead_letters; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON TABLE eventsourcing.discarded_dead_letters IS 'Discarded dead letters, with the reason.';

--
-- Name: event_blocks; Type: TABLE; Schema: eventsourcing; Owner: postgres
--

CREATE TABLE eventsourcing.event_blocks (
    tenant_id uuid NOT NULL,
    block bigint NOT NULL,
    event_types text[] NOT NULL,
    aggregate_types text[] NOT NULL,
    CONSTRAINT event_blocks_block_check CHECK ((block >= 0))
);

ALTER TABLE ONLY eventsourcing.event_blocks FORCE ROW LEVEL SECURITY;

ALTER TABLE eventsourcing.event_blocks OWNER TO postgres;

--
-- Name: TABLE event_blocks; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON TABLE eventsourcing.event_blocks IS 'The types of the events in each full block of 1,024 positions: block n ends with position 1024 (n + 1). Written when a block is full and never changed. Readers of a type skip the blocks without it; a block without a row is read.';

--
-- Name: event_tags; Type: TABLE; Schema: eventsourcing; Owner: postgres
--

CREATE TABLE eventsourcing.event_tags (
    tenant_id uuid NOT NULL,
    tag text NOT NULL COLLATE pg_catalog."C",
    "position" bigint NOT NULL,
    event_type text NOT NULL COLLATE pg_catalog."C"
);

ALTER TABLE ONLY eventsourcing.event_tags FORCE ROW LEVEL SECURITY;

ALTER TABLE eventsourcing.event_tags OWNER TO postgres;

--
-- Name: TABLE event_tags; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON TABLE eventsourcing.event_tags IS 'Positions of the events with a tag. Written with the event and never changed.';

--
-- Name: events; Type: TABLE; Schema: eventsourcing; Owner: postgres
--

CREATE TABLE eventsourcing.events (
    tenant_id uuid NOT NULL,
    "position" bigint NOT NULL,
    aggregate_type text NOT NULL COLLATE pg_catalog."C",
    aggregate_id text NOT NULL COLLATE pg_catalog."C",
    version integer NOT NULL,
    event_id uuid NOT NULL,
    event_type text NOT NULL COLLATE pg_catalog."C",
    schema_version integer NOT NULL,
    occurred_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    actor text,
    correlation_id text NOT NULL,
    causation_id text,
    metadata json NOT NULL,
    payload json NOT NULL,
    bytes integer NOT NULL,
    tags text[],
    hash bytea,
    traceparent text,
    CONSTRAINT events_position_check CHECK (("position" > 0)),
    CONSTRAINT events_version_check CHECK ((version > 0))
);

ALTER TABLE ONLY eventsourcing.events FORCE ROW LEVEL SECURITY;

ALTER TABLE eventsourcing.events OWNER TO postgres;

--
-- Name: TABLE events; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON TABLE eventsourcing.events IS 'Append-only. position is 1..n without gaps per tenant, version 1..n per stream.';

--
-- Name: COLUMN events.recorded_at; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.events.recorded_at IS 'In milliseconds. Never decreases within a tenant, even if the clock goes back.';

--
-- Name: COLUMN events.payload; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.events.payload IS 'json instead of jsonb, so that the text is read exactly as it was written (key order, numbers).';

--
-- Name: COLUMN events.bytes; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.events.bytes IS 'UTF-8 bytes of payload and metadata, for page sizes and billing.';

--
-- Name: COLUMN events.tags; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.events.tags IS 'Tags, sorted and without duplicates; NULL for none.';

--
-- Name: COLUMN events.hash; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.events.hash IS 'SHA-256 of the event and the hash of its predecessor, see event_hash; NULL without a hash chain.';

--
-- Name: COLUMN events.traceparent; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.events.traceparent IS 'The trace in which the event was appended, as a W3C traceparent; NULL for none. Not covered by the hash, because it is not part of the content.';

--
-- Name: placements; Type: TABLE; Schema: eventsourcing; Owner: postgres
--

CREATE TABLE eventsourcing.placements (
    placement text NOT NULL COLLATE pg_catalog."C",
    here boolean DEFAULT false NOT NULL,
    dedicated boolean DEFAULT false NOT NULL,
    CONSTRAINT placements_placement_check CHECK ((placement <> ''::text))
);

ALTER TABLE ONLY eventsourcing.placements FORCE ROW LEVEL SECURITY;

ALTER TABLE eventsourcing.placements OWNER TO postgres;

--
-- Name: TABLE placements; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON TABLE eventsourcing.placements IS 'In the database with the directory: the databases that tenants can be placed in. In every database: its own name.';

--
-- Name: COLUMN placements.here; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.placements.here IS 'True for this database, so that a store notices that it has connected to the wrong one.';

--
-- Name: COLUMN placements.dedicated; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.placements.dedicated IS 'True if this database accepts only tenants that its owner has admitted (admit_tenant).';

--
-- Name: plans; Type: TABLE; Schema: eventsourcing; Owner: postgres
--

CREATE TABLE eventsourcing.plans (
    name text NOT NULL COLLATE pg_catalog."C",
    limits jsonb NOT NULL,
    CONSTRAINT plans_name_check CHECK ((name <> ''::text))
);

ALTER TABLE ONLY eventsourcing.plans FORCE ROW LEVEL SECURITY;

ALTER TABLE eventsourcing.plans OWNER TO postgres;

--
-- Name: TABLE plans; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON TABLE eventsourcing.plans IS 'Named limits that the quotas of tenants follow. They belong to the application, not to a tenant.';

--
-- Name: COLUMN plans.limits; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.plans.limits IS 'events: of a log; rate: events in any window of windowMillis; eventBytes: of payload and metadata of an event. An absent limit does not apply.';

--
-- Name: projection_failures; Type: TABLE; Schema: eventsourcing; Owner: postgres
--

CREATE TABLE eventsourcing.projection_failures (
    tenant_id uuid NOT NULL,
    projection text NOT NULL COLLATE pg_catalog."C",
    version integer NOT NULL,
    rebuild boolean NOT NULL,
    "position" bigint NOT NULL,
    kind text NOT NULL,
    code text,
    message text NOT NULL,
    stack text NOT NULL,
    times integer NOT NULL,
    first_at timestamp with time zone NOT NULL,
    last_at timestamp with time zone NOT NULL
);

ALTER TABLE ONLY eventsourcing.projection_failures FORCE ROW LEVEL SECURITY;

ALTER TABLE eventsourcing.projection_failures OWNER TO postgres;

--
-- Name: TABLE projection_failures; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON TABLE eventsourcing.projection_failures IS 'Causes of failures of projections, for operators. Work for a tenant may write causes but not read them. Values of events are masked.';

--
-- Name: COLUMN projection_failures.times; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.projection_failures.times IS 'Number of times the event has failed.';

--
-- Name: projection_versions; Type: TABLE; Schema: eventsourcing; Owner: postgres
--

CREATE TABLE eventsourcing.projection_versions (
    projection text NOT NULL COLLATE pg_catalog."C",
    version integer NOT NULL,
    tables text[] DEFAULT '{}'::text[] NOT NULL,
    retired_at timestamp with time zone,
    cleared boolean DEFAULT false NOT NULL,
    inline boolean DEFAULT false NOT NULL,
    rebuilding boolean DEFAULT false NOT NULL,
    held_until timestamp with time zone
);

ALTER TABLE ONLY eventsourcing.projection_versions FORCE ROW LEVEL SECURITY;

ALTER TABLE eventsourcing.projection_versions OWNER TO postgres;

--
-- Name: TABLE projection_versions; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON TABLE eventsourcing.projection_versions IS 'Registered projections. They belong to the application, not to a tenant, and are only names.';

--
-- Name: COLUMN projection_versions.tables; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.projection_versions.tables IS 'The read models that it fills, by their names without a schema. No other version may fill them.';

--
-- Name: COLUMN projection_versions.retired_at; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.projection_versions.retired_at IS 'Time from which it gets no work. The row is kept, because a retired version that was registered again would count every event twice.';

--
-- Name: COLUMN projection_versions.cleared; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.projection_versions.cleared IS 'True when the progress of a retired version has been removed.';

--
-- Name: COLUMN projection_versions.inline; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.projection_versions.inline IS 'True if it runs in the transactions of appends: runners do not work on it, and it has no progress.';

--
-- Name: COLUMN projection_versions.rebuilding; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.projection_versions.rebuilding IS 'True during a rebuild of a read model that all tenants share.';

--
-- Name: COLUMN projection_versions.held_until; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.projection_versions.held_until IS 'Time until which a live read model that all tenants share gets no work, so that its rebuild can catch up.';

--
-- Name: projections; Type: TABLE; Schema: eventsourcing; Owner: postgres
--

CREATE TABLE eventsourcing.projections (
    tenant_id uuid NOT NULL,
    projection text NOT NULL COLLATE pg_catalog."C",
    version integer NOT NULL,
    rebuild boolean NOT NULL,
    "position" bigint DEFAULT 0 NOT NULL,
    head bigint DEFAULT 0 NOT NULL,
    parked boolean DEFAULT false NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    failed_position bigint,
    error text,
    failure_kind text,
    waited_ms double precision DEFAULT 0 NOT NULL,
    retry_at timestamp with time zone,
    served_at timestamp with time zone DEFAULT '1970-01-01 00:00:00+00'::timestamp with time zone NOT NULL,
    shared boolean DEFAULT false NOT NULL,
    twins text,
    rebuilt integer DEFAULT 0 NOT NULL
);

ALTER TABLE ONLY eventsourcing.projections FORCE ROW LEVEL SECURITY;

ALTER TABLE eventsourcing.projections OWNER TO postgres;

--
-- Name: TABLE projections; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON TABLE eventsourcing.projections IS 'Progress of each projection for each tenant. A worker locks the row while it works on it.';

--
-- Name: COLUMN projections.rebuild; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.projections.rebuild IS 'True for the progress of a rebuild beside the live read model.';

--
-- Name: COLUMN projections."position"; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.projections."position" IS 'The last position that is in the read model.';

--
-- Name: COLUMN projections.head; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.projections.head IS 'A position that the log has reached: a hint that there is work.';

--
-- Name: COLUMN projections.parked; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.projections.parked IS 'True if a failure has stopped it until somebody resumes it, or until retry_at if that is set.';

--
-- Name: COLUMN projections.error; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.projections.error IS 'Summary of the last failure, without any payload.';

--
-- Name: COLUMN projections.failure_kind; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.projections.failure_kind IS 'handler: the event or its handler is to blame. storage: the database failed. schema: the schema does not fit the handler.';

--
-- Name: COLUMN projections.waited_ms; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.projections.waited_ms IS 'Time for which the failed event has waited for the database, in milliseconds. A sum of durations, so that changes of the clock do not matter.';

--
-- Name: COLUMN projections.retry_at; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.projections.retry_at IS 'Time of the next attempt. It is made at once if served_at is in the future, because the clock has gone back then.';

--
-- Name: COLUMN projections.served_at; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.projections.served_at IS 'The last time that a worker recorded progress or a failure.';

--
-- Name: COLUMN projections.shared; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.projections.shared IS 'True for a rebuild of a read model that all tenants share. At the head of the log it waits for the other tenants.';

--
-- Name: COLUMN projections.twins; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.projections.twins IS 'The twins that the rebuild fills (twins_of). If they have been made anew since, its rows are gone, and it starts over.';

--
-- Name: COLUMN projections.rebuilt; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.projections.rebuilt IS 'Number of rebuilds that have replaced the live read model.';

--
-- Name: read_models; Type: TABLE; Schema: eventsourcing; Owner: postgres
--

CREATE TABLE eventsourcing.read_models (
    name text NOT NULL COLLATE pg_catalog."C",
    live_table text NOT NULL,
    shared boolean DEFAULT false NOT NULL
);

ALTER TABLE ONLY eventsourcing.read_models FORCE ROW LEVEL SECURITY;

ALTER TABLE eventsourcing.read_models OWNER TO postgres;

--
-- Name: TABLE read_models; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON TABLE eventsourcing.read_models IS 'Tables registered with register_read_model or register_shared_read_model. They belong to the application, not to a tenant.';

--
-- Name: COLUMN read_models.shared; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.read_models.shared IS 'Filled by a projection across tenants: eventsourcing_all_tenants sees and changes all rows.';

--
-- Name: schema_files; Type: TABLE; Schema: eventsourcing; Owner: postgres
--

CREATE TABLE eventsourcing.schema_files (
    path text NOT NULL COLLATE pg_catalog."C",
    sha256 text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE eventsourcing.schema_files OWNER TO postgres;

--
-- Name: TABLE schema_files; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON TABLE eventsourcing.schema_files IS 'Files of migrations/ that PgMigrator has applied, with the SHA-256 of their text.';

--
-- Name: snapshots; Type: TABLE; Schema: eventsourcing; Owner: postgres
--

CREATE TABLE eventsourcing.snapshots (
    tenant_id uuid NOT NULL,
    aggregate_type text NOT NULL COLLATE pg_catalog."C",
    aggregate_id text NOT NULL COLLATE pg_catalog."C",
    version integer NOT NULL,
    "position" bigint NOT NULL,
    event_id uuid NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    state_version integer NOT NULL,
    fingerprint text NOT NULL,
    checksum text NOT NULL,
    state text NOT NULL,
    taken_at timestamp with time zone NOT NULL,
    CONSTRAINT snapshots_position_check CHECK (("position" > 0)),
    CONSTRAINT snapshots_version_check CHECK ((version > 0))
);

ALTER TABLE ONLY eventsourcing.snapshots FORCE ROW LEVEL SECURITY;

ALTER TABLE eventsourcing.snapshots OWNER TO postgres;

--
-- Name: TABLE snapshots; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON TABLE eventsourcing.snapshots IS 'The newest snapshot of each stream. Readers check it, and fold all events if it is unusable.';

--
-- Name: COLUMN snapshots.version; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.snapshots.version IS 'Version of the last event in the state.';

--
-- Name: COLUMN snapshots."position"; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.snapshots."position" IS 'Position of that event; event_id and recorded_at belong to the same event.';

--
-- Name: COLUMN snapshots.state_version; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.snapshots.state_version IS 'The stateVersion of the aggregate.';

--
-- Name: COLUMN snapshots.fingerprint; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.snapshots.fingerprint IS 'Fingerprint of the declarations that the state depends on.';

--
-- Name: COLUMN snapshots.checksum; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.snapshots.checksum IS 'SHA-256 of the key, the other columns and the state.';

--
-- Name: COLUMN snapshots.state; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.snapshots.state IS 'JSON text exactly as it was written.';

--
-- Name: subjects; Type: TABLE; Schema: eventsourcing; Owner: postgres
--

CREATE TABLE eventsourcing.subjects (
    tenant_id uuid NOT NULL,
    subject text NOT NULL COLLATE pg_catalog."C",
    number integer,
    forgotten jsonb,
    begun uuid,
    hold jsonb
);

ALTER TABLE ONLY eventsourcing.subjects FORCE ROW LEVEL SECURITY;

ALTER TABLE eventsourcing.subjects OWNER TO postgres;

--
-- Name: TABLE subjects; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON TABLE eventsourcing.subjects IS 'People of a tenant that were forgotten, or that must not be forgotten. Their keys are in the key vault, which is not here.';

--
-- Name: COLUMN subjects.number; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.subjects.number IS 'The number of the last forgetting: that of tenants.forgotten_subjects right after it; NULL if the subject was never forgotten.';

--
-- Name: COLUMN subjects.forgotten; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.subjects.forgotten IS 'The last forgetting: forgetting (its id), forgottenAt, actor, reason, allowedAgainAt. Times are in milliseconds since 1970.';

--
-- Name: COLUMN subjects.begun; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.subjects.begun IS 'The id of a forgetting that has begun and not ended: its event may not be in the log.';

--
-- Name: COLUMN subjects.hold; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.subjects.hold IS 'The legal hold, which forbids forgetting: actor, reason and time; NULL for none.';

--
-- Name: tenant_directory; Type: TABLE; Schema: eventsourcing; Owner: postgres
--

CREATE TABLE eventsourcing.tenant_directory (
    tenant_id uuid NOT NULL,
    placement text NOT NULL COLLATE pg_catalog."C"
);

ALTER TABLE ONLY eventsourcing.tenant_directory FORCE ROW LEVEL SECURITY;

ALTER TABLE eventsourcing.tenant_directory OWNER TO postgres;

--
-- Name: TABLE tenant_directory; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON TABLE eventsourcing.tenant_directory IS 'The placement of each tenant.';

--
-- Name: tenants; Type: TABLE; Schema: eventsourcing; Owner: postgres
--

CREATE TABLE eventsourcing.tenants (
    tenant_id uuid NOT NULL,
    status text DEFAULT 'active'::text NOT NULL,
    created_at timestamp with time zone DEFAULT date_trunc('milliseconds'::text, clock_timestamp()) NOT NULL,
    lockable boolean DEFAULT true NOT NULL,
    chained_from bigint,
    undertaking jsonb,
    hold jsonb,
    origin jsonb,
    quota jsonb,
    forgotten_subjects integer DEFAULT 0 NOT NULL,
    CONSTRAINT tenants_status_check CHECK ((status = ANY (ARRAY['active'::text, 'suspended'::text, 'elsewhere'::text, 'importing'::text, 'moving'::text, 'moved'::text, 'erased'::text])))
);

ALTER TABLE ONLY eventsourcing.tenants FORCE ROW LEVEL SECURITY;

ALTER TABLE eventsourcing.tenants OWNER TO postgres;

--
-- Name: TABLE tenants; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON TABLE eventsourcing.tenants IS 'Registered tenants. Each append locks the row of its tenant, so that the appends of a tenant run one after another.';

--
-- Name: COLUMN tenants.status; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.tenants.status IS 'active; suspended: it can be read but not written; elsewhere: it has another database, and this one refuses it; importing: its log is being written, and no work sees it; moving: it can be read but not written until a move ends; moved: it has another database since; erased: only this row remains.';

--
-- Name: COLUMN tenants.lockable; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.tenants.lockable IS 'Never read or written. PostgreSQL lets a role lock a row only if the role may update one of its columns, and this is that column.';

--
-- Name: COLUMN tenants.chained_from; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.tenants.chained_from IS 'First position of the log that carries a hash; NULL without a hash chain.';

--
-- Name: COLUMN tenants.undertaking; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.tenants.undertaking IS 'The import, move or erasure that the status belongs to: its token, and what it has recorded. Times are in milliseconds since 1970.';

--
-- Name: COLUMN tenants.hold; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.tenants.hold IS 'The legal hold, which forbids erasure: actor, reason and time; NULL for none.';

--
-- Name: COLUMN tenants.origin; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.tenants.origin IS 'The log of another tenant from which this one was imported: tenantId, position, eventId, hash; NULL for none.';

--
-- Name: COLUMN tenants.quota; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.tenants.quota IS 'The limits of the tenant, see plans.limits, or the name of its plan: {"plan": …}; NULL for none.';

--
-- Name: COLUMN tenants.forgotten_subjects; Type: COMMENT; Schema: eventsourcing; Owner: postgres
--

COMMENT ON COLUMN eventsourcing.tenants.forgotten_subjects IS 'Grows whenever a subject of the tenant is forgotten. Appends and states that were made before are refused.';

--
-- Name: command_keys command_keys_pkey; Type: CONSTRAINT; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE ONLY eventsourcing.command_keys
    ADD CONSTRAINT command_keys_pkey PRIMARY KEY (tenant_id, key);

--
-- Name: cross_tenant_accesses cross_tenant_accesses_pkey; Type: CONSTRAINT; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE ONLY eventsourcing.cross_tenant_accesses
    ADD CONSTRAINT cross_tenant_accesses_pkey PRIMARY KEY (access_id);

--
-- Name: dead_letters dead_letters_pkey; Type: CONSTRAINT; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE ONLY eventsourcing.dead_letters
    ADD CONSTRAINT dead_letters_pkey PRIMARY KEY (tenant_id, projection, version, rebuild, "position");

--
-- Name: declared_tables declared_tables_pkey; Type: CONSTRAINT; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE ONLY eventsourcing.declared_tables
    ADD CONSTRAINT declared_tables_pkey PRIMARY KEY (name);

--
-- Name: discarded_dead_letters discarded_dead_letters_pkey; Type: CONSTRAINT; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE ONLY eventsourcing.discarded_dead_letters
    ADD CONSTRAINT discarded_dead_letters_pkey PRIMARY KEY (tenant_id, projection, version, "position", discarded_at);

--
-- Name: event_blocks event_blocks_pkey; Type: CONSTRAINT; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE ONLY eventsourcing.event_blocks
    ADD CONSTRAINT event_blocks_pkey PRIMARY KEY (tenant_id, block);

--
-- Name: event_tags event_tags_pkey; Type: CONSTRAINT; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE ONLY eventsourcing.event_tags
    ADD CONSTRAINT event_tags_pkey PRIMARY KEY (tenant_id, tag, "position");

--
-- Name: events events_event_id_key; Type: CONSTRAINT; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE ONLY eventsourcing.events
    ADD CONSTRAINT events_event_id_key UNIQUE (tenant_id, event_id);

--
-- Name: events events_pkey; Type: CONSTRAINT; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE ONLY eventsourcing.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (tenant_id, "position");

--
-- Name: events events_stream_key; Type: CONSTRAINT; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE ONLY eventsourcing.events
    ADD CONSTRAINT events_stream_key UNIQUE (tenant_id, aggregate_type, aggregate_id, version);

--
-- Name: placements placements_pkey; Type: CONSTRAINT; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE ONLY eventsourcing.placements
    ADD CONSTRAINT placements_pkey PRIMARY KEY (placement);

--
-- Name: plans plans_pkey; Type: CONSTRAINT; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE ONLY eventsourcing.plans
    ADD CONSTRAINT plans_pkey PRIMARY KEY (name);

--
-- Name: projection_failures projection_failures_pkey; Type: CONSTRAINT; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE ONLY eventsourcing.projection_failures
    ADD CONSTRAINT projection_failures_pkey PRIMARY KEY (tenant_id, projection, version, rebuild, "position");

--
-- Name: projection_versions projection_versions_pkey; Type: CONSTRAINT; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE ONLY eventsourcing.projection_versions
    ADD CONSTRAINT projection_versions_pkey PRIMARY KEY (projection, version);

--
-- Name: projections projections_pkey; Type: CONSTRAINT; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE ONLY eventsourcing.projections
    ADD CONSTRAINT projections_pkey PRIMARY KEY (tenant_id, projection, version, rebuild);

--
-- Name: read_models read_models_pkey; Type: CONSTRAINT; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE ONLY eventsourcing.read_models
    ADD CONSTRAINT read_models_pkey PRIMARY KEY (name);

--
-- Name: schema_files schema_files_pkey; Type: CONSTRAINT; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE ONLY eventsourcing.schema_files
    ADD CONSTRAINT schema_files_pkey PRIMARY KEY (path);

--
-- Name: snapshots snapshots_pkey; Type: CONSTRAINT; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE ONLY eventsourcing.snapshots
    ADD CONSTRAINT snapshots_pkey PRIMARY KEY (tenant_id, aggregate_type, aggregate_id);

--
-- Name: subjects subjects_pkey; Type: CONSTRAINT; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE ONLY eventsourcing.subjects
    ADD CONSTRAINT subjects_pkey PRIMARY KEY (tenant_id, subject);

--
-- Name: tenant_directory tenant_directory_pkey; Type: CONSTRAINT; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE ONLY eventsourcing.tenant_directory
    ADD CONSTRAINT tenant_directory_pkey PRIMARY KEY (tenant_id);

--
-- Name: tenants tenants_pkey; Type: CONSTRAINT; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE ONLY eventsourcing.tenants
    ADD CONSTRAINT tenants_pkey PRIMARY KEY (tenant_id);

--
-- Name: command_keys_expiry; Type: INDEX; Schema: eventsourcing; Owner: postgres
--

CREATE INDEX command_keys_expiry ON eventsourcing.command_keys USING btree (tenant_id, expires_at);

--
-- Name: cross_tenant_accesses_operations; Type: INDEX; Schema: eventsourcing; Owner: postgres
--

CREATE INDEX cross_tenant_accesses_operations ON eventsourcing.cross_tenant_accesses USING btree (operation COLLATE "C", access_id DESC) WHERE (parameters IS NOT NULL);

--
-- Name: dead_letters_age; Type: INDEX; Schema: eventsourcing; Owner: postgres
--

CREATE INDEX dead_letters_age ON eventsourcing.dead_letters USING btree (projection, version, failed_at) WHERE (NOT rebuild);

--
-- Name: projections_due; Type: INDEX; Schema: eventsourcing; Owner: postgres
--

CREATE INDEX projections_due ON eventsourcing.projections USING btree (projection, version, served_at) WHERE (((NOT parked) OR (retry_at IS NOT NULL)) AND (("position" < head) OR (rebuild AND (NOT shared))));

--
-- Name: projections_parked; Type: INDEX; Schema: eventsourcing; Owner: postgres
--

CREATE INDEX projections_parked ON eventsourcing.projections USING btree (projection, version) WHERE parked;

--
-- Name: subjects_numbers; Type: INDEX; Schema: eventsourcing; Owner: postgres
--

CREATE INDEX subjects_numbers ON eventsourcing.subjects USING btree (tenant_id, number);

--
-- Name: tenants_unseen; Type: INDEX; Schema: eventsourcing; Owner: postgres
--

CREATE INDEX tenants_unseen ON eventsourcing.tenants USING btree (tenant_id) WHERE (status = ANY (ARRAY['importing'::text, 'moving'::text, 'moved'::text, 'erased'::text]));

--
-- Name: plans administrator_defines; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY administrator_defines ON eventsourcing.plans TO eventsourcing_administrator_owner USING (true) WITH CHECK (true);

--
-- Name: projection_versions administrator_reads; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY administrator_reads ON eventsourcing.projection_versions FOR SELECT TO eventsourcing_administrator_owner USING (true);

--
-- Name: cross_tenant_accesses all_tenants_audit; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY all_tenants_audit ON eventsourcing.cross_tenant_accesses TO eventsourcing_all_tenants_owner USING (true) WITH CHECK (true);

--
-- Name: dead_letters all_tenants_count; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY all_tenants_count ON eventsourcing.dead_letters FOR SELECT TO eventsourcing_all_tenants_owner USING (true);

--
-- Name: tenant_directory all_tenants_place; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY all_tenants_place ON eventsourcing.tenant_directory TO eventsourcing_all_tenants_owner USING (true) WITH CHECK (true);

--
-- Name: events all_tenants_read; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY all_tenants_read ON eventsourcing.events FOR SELECT TO eventsourcing_all_tenants_owner USING (true);

--
-- Name: projection_failures all_tenants_read; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY all_tenants_read ON eventsourcing.projection_failures FOR SELECT TO eventsourcing_all_tenants_owner USING (true);

--
-- Name: projections all_tenants_read; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY all_tenants_read ON eventsourcing.projections FOR SELECT TO eventsourcing_all_tenants_owner USING (true);

--
-- Name: tenants all_tenants_read; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY all_tenants_read ON eventsourcing.tenants FOR SELECT TO eventsourcing_all_tenants_owner USING (true);

--
-- Name: projections all_tenants_resume; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY all_tenants_resume ON eventsourcing.projections FOR UPDATE TO eventsourcing_all_tenants_owner USING (true);

--
-- Name: tenants all_tenants_status; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY all_tenants_status ON eventsourcing.tenants FOR UPDATE TO eventsourcing_all_tenants_owner USING (true);

--
-- Name: declared_tables anyone_reads; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY anyone_reads ON eventsourcing.declared_tables FOR SELECT USING (true);

--
-- Name: placements anyone_reads; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY anyone_reads ON eventsourcing.placements FOR SELECT USING (true);

--
-- Name: plans anyone_reads; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY anyone_reads ON eventsourcing.plans FOR SELECT USING (true);

--
-- Name: read_models anyone_reads; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY anyone_reads ON eventsourcing.read_models FOR SELECT USING (true);

--
-- Name: command_keys; Type: ROW SECURITY; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE eventsourcing.command_keys ENABLE ROW LEVEL SECURITY;

--
-- Name: cross_tenant_accesses; Type: ROW SECURITY; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE eventsourcing.cross_tenant_accesses ENABLE ROW LEVEL SECURITY;

--
-- Name: dead_letters; Type: ROW SECURITY; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE eventsourcing.dead_letters ENABLE ROW LEVEL SECURITY;

--
-- Name: declared_tables; Type: ROW SECURITY; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE eventsourcing.declared_tables ENABLE ROW LEVEL SECURITY;

--
-- Name: discarded_dead_letters; Type: ROW SECURITY; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE eventsourcing.discarded_dead_letters ENABLE ROW LEVEL SECURITY;

--
-- Name: event_blocks; Type: ROW SECURITY; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE eventsourcing.event_blocks ENABLE ROW LEVEL SECURITY;

--
-- Name: event_tags; Type: ROW SECURITY; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE eventsourcing.event_tags ENABLE ROW LEVEL SECURITY;

--
-- Name: events; Type: ROW SECURITY; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE eventsourcing.events ENABLE ROW LEVEL SECURITY;

--
-- Name: declared_tables owner_registers; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY owner_registers ON eventsourcing.declared_tables TO postgres USING (true) WITH CHECK (true);

--
-- Name: placements owner_registers; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY owner_registers ON eventsourcing.placements TO postgres USING (true) WITH CHECK (true);

--
-- Name: read_models owner_registers; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY owner_registers ON eventsourcing.read_models TO postgres USING (true) WITH CHECK (true);

--
-- Name: placements; Type: ROW SECURITY; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE eventsourcing.placements ENABLE ROW LEVEL SECURITY;

--
-- Name: plans; Type: ROW SECURITY; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE eventsourcing.plans ENABLE ROW LEVEL SECURITY;

--
-- Name: projection_failures; Type: ROW SECURITY; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE eventsourcing.projection_failures ENABLE ROW LEVEL SECURITY;

--
-- Name: projection_versions; Type: ROW SECURITY; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE eventsourcing.projection_versions ENABLE ROW LEVEL SECURITY;

--
-- Name: projections; Type: ROW SECURITY; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE eventsourcing.projections ENABLE ROW LEVEL SECURITY;

--
-- Name: read_models; Type: ROW SECURITY; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE eventsourcing.read_models ENABLE ROW LEVEL SECURITY;

--
-- Name: projection_failures runner_clears; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY runner_clears ON eventsourcing.projection_failures TO eventsourcing_runner_owner USING (true) WITH CHECK (true);

--
-- Name: events runner_heads; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY runner_heads ON eventsourcing.events FOR SELECT TO eventsourcing_runner_owner USING (true);

--
-- Name: tenants runner_heads; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY runner_heads ON eventsourcing.tenants FOR SELECT TO eventsourcing_runner_owner USING (true);

--
-- Name: dead_letters runner_switches; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY runner_switches ON eventsourcing.dead_letters TO eventsourcing_runner_owner USING (true) WITH CHECK (true);

--
-- Name: command_keys runner_work; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY runner_work ON eventsourcing.command_keys TO eventsourcing_runner_owner USING (true) WITH CHECK (true);

--
-- Name: projection_versions runner_work; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY runner_work ON eventsourcing.projection_versions TO eventsourcing_runner_owner USING (true) WITH CHECK (true);

--
-- Name: projections runner_work; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY runner_work ON eventsourcing.projections TO eventsourcing_runner_owner USING (true) WITH CHECK (true);

--
-- Name: snapshots; Type: ROW SECURITY; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE eventsourcing.snapshots ENABLE ROW LEVEL SECURITY;

--
-- Name: subjects; Type: ROW SECURITY; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE eventsourcing.subjects ENABLE ROW LEVEL SECURITY;

--
-- Name: command_keys tenant_access; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY tenant_access ON eventsourcing.command_keys TO eventsourcing_tenant USING ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid));

--
-- Name: dead_letters tenant_access; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY tenant_access ON eventsourcing.dead_letters TO eventsourcing_tenant USING ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid));

--
-- Name: discarded_dead_letters tenant_access; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY tenant_access ON eventsourcing.discarded_dead_letters TO eventsourcing_tenant USING ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid));

--
-- Name: event_blocks tenant_access; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY tenant_access ON eventsourcing.event_blocks TO eventsourcing_tenant USING ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid));

--
-- Name: event_tags tenant_access; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY tenant_access ON eventsourcing.event_tags TO eventsourcing_tenant USING ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid));

--
-- Name: events tenant_access; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY tenant_access ON eventsourcing.events TO eventsourcing_tenant USING ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid));

--
-- Name: projection_failures tenant_access; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY tenant_access ON eventsourcing.projection_failures TO eventsourcing_tenant USING ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid));

--
-- Name: projections tenant_access; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY tenant_access ON eventsourcing.projections TO eventsourcing_tenant USING ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid));

--
-- Name: snapshots tenant_access; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY tenant_access ON eventsourcing.snapshots TO eventsourcing_tenant USING ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid));

--
-- Name: subjects tenant_access; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY tenant_access ON eventsourcing.subjects TO eventsourcing_tenant USING ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid));

--
-- Name: tenant_directory tenant_access; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY tenant_access ON eventsourcing.tenant_directory TO eventsourcing_tenant USING ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid));

--
-- Name: tenants tenant_access; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY tenant_access ON eventsourcing.tenants TO eventsourcing_tenant USING ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid));

--
-- Name: tenant_directory; Type: ROW SECURITY; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE eventsourcing.tenant_directory ENABLE ROW LEVEL SECURITY;

--
-- Name: command_keys tenant_isolation; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY tenant_isolation ON eventsourcing.command_keys AS RESTRICTIVE TO eventsourcing_tenant USING ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid));

--
-- Name: dead_letters tenant_isolation; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY tenant_isolation ON eventsourcing.dead_letters AS RESTRICTIVE TO eventsourcing_tenant USING ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid));

--
-- Name: discarded_dead_letters tenant_isolation; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY tenant_isolation ON eventsourcing.discarded_dead_letters AS RESTRICTIVE TO eventsourcing_tenant USING ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid));

--
-- Name: event_blocks tenant_isolation; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY tenant_isolation ON eventsourcing.event_blocks AS RESTRICTIVE TO eventsourcing_tenant USING ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid));

--
-- Name: event_tags tenant_isolation; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY tenant_isolation ON eventsourcing.event_tags AS RESTRICTIVE TO eventsourcing_tenant USING ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid));

--
-- Name: events tenant_isolation; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY tenant_isolation ON eventsourcing.events AS RESTRICTIVE TO eventsourcing_tenant USING ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid));

--
-- Name: projection_failures tenant_isolation; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY tenant_isolation ON eventsourcing.projection_failures AS RESTRICTIVE TO eventsourcing_tenant USING ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid));

--
-- Name: projections tenant_isolation; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY tenant_isolation ON eventsourcing.projections AS RESTRICTIVE TO eventsourcing_tenant USING ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid));

--
-- Name: snapshots tenant_isolation; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY tenant_isolation ON eventsourcing.snapshots AS RESTRICTIVE TO eventsourcing_tenant USING ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid));

--
-- Name: subjects tenant_isolation; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY tenant_isolation ON eventsourcing.subjects AS RESTRICTIVE TO eventsourcing_tenant USING ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid));

--
-- Name: tenant_directory tenant_isolation; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY tenant_isolation ON eventsourcing.tenant_directory AS RESTRICTIVE TO eventsourcing_tenant USING ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid));

--
-- Name: tenants tenant_isolation; Type: POLICY; Schema: eventsourcing; Owner: postgres
--

CREATE POLICY tenant_isolation ON eventsourcing.tenants AS RESTRICTIVE TO eventsourcing_tenant USING ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid)) WITH CHECK ((tenant_id = (NULLIF(current_setting('eventsourcing.tenant_id'::text, true), ''::text))::uuid));

--
-- Name: tenants; Type: ROW SECURITY; Schema: eventsourcing; Owner: postgres
--

ALTER TABLE eventsourcing.tenants ENABLE ROW LEVEL SECURITY;

--
-- Name: SCHEMA eventsourcing; Type: ACL; Schema: -; Owner: postgres
--

GRANT USAGE ON SCHEMA eventsourcing TO eventsourcing_tenant;
GRANT USAGE ON SCHEMA eventsourcing TO eventsourcing_runner;
GRANT USAGE ON SCHEMA eventsourcing TO eventsourcing_all_tenants;
GRANT USAGE ON SCHEMA eventsourcing TO eventsourcing_administrator;
GRANT USAGE ON SCHEMA eventsourcing TO eventsourcing_runner_owner;
GRANT USAGE ON SCHEMA eventsourcing TO eventsourcing_all_tenants_owner;
GRANT USAGE ON SCHEMA eventsourcing TO eventsourcing_administrator_owner;

--
-- Name: SCHEMA eventsourcing_rebuild; Type: ACL; Schema: -; Owner: postgres
--

GRANT USAGE ON SCHEMA eventsourcing_rebuild TO eventsourcing_tenant;
GRANT USAGE ON SCHEMA eventsourcing_rebuild TO eventsourcing_all_tenants;

--
-- Name: FUNCTION add_dead_letter(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_position bigint, p_event uuid, p_error text, p_attempts integer); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.add_dead_letter(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_position bigint, p_event uuid, p_error text, p_attempts integer) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.add_dead_letter(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_position bigint, p_event uuid, p_error text, p_attempts integer) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION add_placement(p_placement text); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.add_placement(p_placement text) FROM PUBLIC;

--
-- Name: FUNCTION administer(p_access uuid, p_tenant uuid); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

REVOKE ALL ON FUNCTION eventsourcing.administer(p_access uuid, p_tenant uuid) FROM PUBLIC;

--
-- Name: FUNCTION administered_tables(p_access uuid, p_tenant uuid); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

REVOKE ALL ON FUNCTION eventsourcing.administered_tables(p_access uuid, p_tenant uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.administered_tables(p_access uuid, p_tenant uuid) FROM eventsourcing_administrator_owner;
GRANT ALL ON FUNCTION eventsourcing.administered_tables(p_access uuid, p_tenant uuid) TO eventsourcing_administrator;

--
-- Name: FUNCTION administered_tenant(p_access uuid, p_tenant uuid); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

REVOKE ALL ON FUNCTION eventsourcing.administered_tenant(p_access uuid, p_tenant uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.administered_tenant(p_access uuid, p_tenant uuid) FROM eventsourcing_administrator_owner;
GRANT ALL ON FUNCTION eventsourcing.administered_tenant(p_access uuid, p_tenant uuid) TO eventsourcing_administrator;

--
-- Name: FUNCTION admit_tenant(p_tenant uuid); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.admit_tenant(p_tenant uuid) FROM PUBLIC;

--
-- Name: FUNCTION advance_projection(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_position bigint); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.advance_projection(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_position bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.advance_projection(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_position bigint) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION announce(p_tenants uuid[]); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

REVOKE ALL ON FUNCTION eventsourcing.announce(p_tenants uuid[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.announce(p_tenants uuid[]) FROM eventsourcing_runner_owner;
GRANT ALL ON FUNCTION eventsourcing.announce(p_tenants uuid[]) TO eventsourcing_tenant;

--
-- Name: PROCEDURE announce_committing(IN p_tenants uuid[], OUT held text[]); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON PROCEDURE eventsourcing.announce_committing(IN p_tenants uuid[], OUT held text[]) FROM PUBLIC;
GRANT ALL ON PROCEDURE eventsourcing.announce_committing(IN p_tenants uuid[], OUT held text[]) TO eventsourcing_tenant;

--
-- Name: FUNCTION append(p_provision boolean, p_wait boolean, p_tenants text[], p_round_last_segments integer[], p_segment_tenants integer[], p_segment_last_streams integer[], p_stream_appends integer[], p_stream_types text[], p_stream_ids text[], p_stream_expected integer[], p_stream_expected_ids uuid[], p_stream_last_events integer[], p_stream_previous integer[], p_stream_events_before integer[], p_event_streams integer[], p_event_ids uuid[], p_event_types text[], p_event_schema_versions integer[], p_event_occurred_at timestamp with time zone[], p_event_actors text[], p_event_correlation_ids text[], p_event_causation_ids text[], p_event_traceparents text[], p_event_metadata text[], p_event_payloads text[], p_event_tags text[], p_append_forgotten integer[], p_extras jsonb, OUT heads double precision[], OUT versions integer[], OUT times timestamp with time zone[], OUT refusals jsonb); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.append(p_provision boolean, p_wait boolean, p_tenants text[], p_round_last_segments integer[], p_segment_tenants integer[], p_segment_last_streams integer[], p_stream_appends integer[], p_stream_types text[], p_stream_ids text[], p_stream_expected integer[], p_stream_expected_ids uuid[], p_stream_last_events integer[], p_stream_previous integer[], p_stream_events_before integer[], p_event_streams integer[], p_event_ids uuid[], p_event_types text[], p_event_schema_versions integer[], p_event_occurred_at timestamp with time zone[], p_event_actors text[], p_event_correlation_ids text[], p_event_causation_ids text[], p_event_traceparents text[], p_event_metadata text[], p_event_payloads text[], p_event_tags text[], p_append_forgotten integer[], p_extras jsonb, OUT heads double precision[], OUT versions integer[], OUT times timestamp with time zone[], OUT refusals jsonb) FROM PUBLIC;

--
-- Name: PROCEDURE append_committing(IN p_provision boolean, IN p_wait boolean, IN p_tenants text[], IN p_round_last_segments integer[], IN p_segment_tenants integer[], IN p_segment_last_streams integer[], IN p_stream_appends integer[], IN p_stream_types text[], IN p_stream_ids text[], IN p_stream_expected integer[], IN p_stream_expected_ids uuid[], IN p_stream_last_events integer[], IN p_stream_previous integer[], IN p_stream_events_before integer[], IN p_event_streams integer[], IN p_event_ids uuid[], IN p_event_types text[], IN p_event_schema_versions integer[], IN p_event_occurred_at timestamp with time zone[], IN p_event_actors text[], IN p_event_correlation_ids text[], IN p_event_causation_ids text[], IN p_event_traceparents text[], IN p_event_metadata text[], IN p_event_payloads text[], IN p_event_tags text[], IN p_append_forgotten integer[], IN p_extras jsonb, OUT heads double precision[], OUT versions integer[], OUT times timestamp with time zone[], OUT refusals jsonb); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON PROCEDURE eventsourcing.append_committing(IN p_provision boolean, IN p_wait boolean, IN p_tenants text[], IN p_round_last_segments integer[], IN p_segment_tenants integer[], IN p_segment_last_streams integer[], IN p_stream_appends integer[], IN p_stream_types text[], IN p_stream_ids text[], IN p_stream_expected integer[], IN p_stream_expected_ids uuid[], IN p_stream_last_events integer[], IN p_stream_previous integer[], IN p_stream_events_before integer[], IN p_event_streams integer[], IN p_event_ids uuid[], IN p_event_types text[], IN p_event_schema_versions integer[], IN p_event_occurred_at timestamp with time zone[], IN p_event_actors text[], IN p_event_correlation_ids text[], IN p_event_causation_ids text[], IN p_event_traceparents text[], IN p_event_metadata text[], IN p_event_payloads text[], IN p_event_tags text[], IN p_append_forgotten integer[], IN p_extras jsonb, OUT heads double precision[], OUT versions integer[], OUT times timestamp with time zone[], OUT refusals jsonb) FROM PUBLIC;
GRANT ALL ON PROCEDURE eventsourcing.append_committing(IN p_provision boolean, IN p_wait boolean, IN p_tenants text[], IN p_round_last_segments integer[], IN p_segment_tenants integer[], IN p_segment_last_streams integer[], IN p_stream_appends integer[], IN p_stream_types text[], IN p_stream_ids text[], IN p_stream_expected integer[], IN p_stream_expected_ids uuid[], IN p_stream_last_events integer[], IN p_stream_previous integer[], IN p_stream_events_before integer[], IN p_event_streams integer[], IN p_event_ids uuid[], IN p_event_types text[], IN p_event_schema_versions integer[], IN p_event_occurred_at timestamp with time zone[], IN p_event_actors text[], IN p_event_correlation_ids text[], IN p_event_causation_ids text[], IN p_event_traceparents text[], IN p_event_metadata text[], IN p_event_payloads text[], IN p_event_tags text[], IN p_append_forgotten integer[], IN p_extras jsonb, OUT heads double precision[], OUT versions integer[], OUT times timestamp with time zone[], OUT refusals jsonb) TO eventsourcing_tenant;

--
-- Name: FUNCTION append_one(p_tenant uuid, p_aggregate_type text, p_aggregate_id text, p_expected integer, p_expected_id uuid, p_event_id uuid, p_event_type text, p_schema_version integer, p_occurred_at timestamp with time zone, p_actor text, p_correlation_id text, p_causation_id text, p_traceparent text, p_metadata text, p_payload text, p_tags text[], p_forgotten integer, OUT answer double precision[]); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.append_one(p_tenant uuid, p_aggregate_type text, p_aggregate_id text, p_expected integer, p_expected_id uuid, p_event_id uuid, p_event_type text, p_schema_version integer, p_occurred_at timestamp with time zone, p_actor text, p_correlation_id text, p_causation_id text, p_traceparent text, p_metadata text, p_payload text, p_tags text[], p_forgotten integer, OUT answer double precision[]) FROM PUBLIC;

--
-- Name: PROCEDURE append_one_committing(IN p_tenant uuid, IN p_aggregate_type text, IN p_aggregate_id text, IN p_expected integer, IN p_expected_id uuid, IN p_event_id uuid, IN p_event_type text, IN p_schema_version integer, IN p_occurred_at timestamp with time zone, IN p_actor text, IN p_correlation_id text, IN p_causation_id text, IN p_traceparent text, IN p_metadata text, IN p_payload text, IN p_tags text[], IN p_forgotten integer, OUT answer double precision[]); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON PROCEDURE eventsourcing.append_one_committing(IN p_tenant uuid, IN p_aggregate_type text, IN p_aggregate_id text, IN p_expected integer, IN p_expected_id uuid, IN p_event_id uuid, IN p_event_type text, IN p_schema_version integer, IN p_occurred_at timestamp with time zone, IN p_actor text, IN p_correlation_id text, IN p_causation_id text, IN p_traceparent text, IN p_metadata text, IN p_payload text, IN p_tags text[], IN p_forgotten integer, OUT answer double precision[]) FROM PUBLIC;
GRANT ALL ON PROCEDURE eventsourcing.append_one_committing(IN p_tenant uuid, IN p_aggregate_type text, IN p_aggregate_id text, IN p_expected integer, IN p_expected_id uuid, IN p_event_id uuid, IN p_event_type text, IN p_schema_version integer, IN p_occurred_at timestamp with time zone, IN p_actor text, IN p_correlation_id text, IN p_causation_id text, IN p_traceparent text, IN p_metadata text, IN p_payload text, IN p_tags text[], IN p_forgotten integer, OUT answer double precision[]) TO eventsourcing_tenant;

--
-- Name: FUNCTION begin_across_tenants(p_tenant uuid, p_access uuid); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.begin_across_tenants(p_tenant uuid, p_access uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.begin_across_tenants(p_tenant uuid, p_access uuid) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION begin_projection(p_projections text[], p_versions integer[], p_across boolean[], p_access uuid); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.begin_projection(p_projections text[], p_versions integer[], p_across boolean[], p_access uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.begin_projection(p_projections text[], p_versions integer[], p_across boolean[], p_access uuid) TO eventsourcing_runner;

--
-- Name: FUNCTION begin_reading(p_tenant uuid); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.begin_reading(p_tenant uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.begin_reading(p_tenant uuid) TO eventsourcing_tenant;

--
-- Name: FUNCTION begin_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_restart boolean); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

REVOKE ALL ON FUNCTION eventsourcing.begin_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_restart boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.begin_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_restart boolean) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION begin_tenant(p_tenant uuid); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.begin_tenant(p_tenant uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.begin_tenant(p_tenant uuid) TO eventsourcing_tenant;

--
-- Name: FUNCTION bind_rebuild(p_tenant uuid, p_projection text, p_version integer, p_twins text); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.bind_rebuild(p_tenant uuid, p_projection text, p_version integer, p_twins text) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.bind_rebuild(p_tenant uuid, p_projection text, p_version integer, p_twins text) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION bind_tenant(p_tenant uuid); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.bind_tenant(p_tenant uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.bind_tenant(p_tenant uuid) TO eventsourcing_all_tenants;
GRANT ALL ON FUNCTION eventsourcing.bind_tenant(p_tenant uuid) TO eventsourcing_runner;
GRANT ALL ON FUNCTION eventsourcing.bind_tenant(p_tenant uuid) TO eventsourcing_tenant;

--
-- Name: FUNCTION cancel_rebuild(p_tenant uuid, p_projection text, p_version integer); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.cancel_rebuild(p_tenant uuid, p_projection text, p_version integer) FROM PUBLIC;

--
-- Name: FUNCTION cancel_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_tables text[]); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.cancel_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_tables text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.cancel_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_tables text[]) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION carried_key(p_table text); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.carried_key(p_table text) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.carried_key(p_table text) TO eventsourcing_administrator_owner;

--
-- Name: FUNCTION change_subject(p_access uuid, p_tenant uuid, p_subject text, p_change text, p_given jsonb); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

REVOKE ALL ON FUNCTION eventsourcing.change_subject(p_access uuid, p_tenant uuid, p_subject text, p_change text, p_given jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.change_subject(p_access uuid, p_tenant uuid, p_subject text, p_change text, p_given jsonb) FROM eventsourcing_administrator_owner;
GRANT ALL ON FUNCTION eventsourcing.change_subject(p_access uuid, p_tenant uuid, p_subject text, p_change text, p_given jsonb) TO eventsourcing_administrator;

--
-- Name: FUNCTION change_tenant_state(p_access uuid, p_tenant uuid, p_change text, p_token uuid, p_arguments jsonb); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

REVOKE ALL ON FUNCTION eventsourcing.change_tenant_state(p_access uuid, p_tenant uuid, p_change text, p_token uuid, p_arguments jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.change_tenant_state(p_access uuid, p_tenant uuid, p_change text, p_token uuid, p_arguments jsonb) FROM eventsourcing_administrator_owner;
GRANT ALL ON FUNCTION eventsourcing.change_tenant_state(p_access uuid, p_tenant uuid, p_change text, p_token uuid, p_arguments jsonb) TO eventsourcing_administrator;

--
-- Name: FUNCTION claim_projection(p_projections text[], p_versions integer[]); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

REVOKE ALL ON FUNCTION eventsourcing.claim_projection(p_projections text[], p_versions integer[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.claim_projection(p_projections text[], p_versions integer[]) FROM eventsourcing_runner_owner;
GRANT ALL ON FUNCTION eventsourcing.claim_projection(p_projections text[], p_versions integer[]) TO eventsourcing_runner;

--
-- Name: FUNCTION clean_session(p_ending boolean); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.clean_session(p_ending boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.clean_session(p_ending boolean) TO eventsourcing_administrator;
GRANT ALL ON FUNCTION eventsourcing.clean_session(p_ending boolean) TO eventsourcing_all_tenants;
GRANT ALL ON FUNCTION eventsourcing.clean_session(p_ending boolean) TO eventsourcing_runner;
GRANT ALL ON FUNCTION eventsourcing.clean_session(p_ending boolean) TO eventsourcing_tenant;

--
-- Name: FUNCTION clear_rebuild(p_tenant uuid, p_tables text[]); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.clear_rebuild(p_tenant uuid, p_tables text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.clear_rebuild(p_tenant uuid, p_tables text[]) TO eventsourcing_tenant;

--
-- Name: FUNCTION clear_retired_projections(); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

REVOKE ALL ON FUNCTION eventsourcing.clear_retired_projections() FROM PUBLIC;

--
-- Name: FUNCTION command_outcomes(p_tenants text[], p_keys text[]); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.command_outcomes(p_tenants text[], p_keys text[]) FROM PUBLIC;

--
-- Name: FUNCTION complete_operation(p_access uuid, p_outcome jsonb); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

REVOKE ALL ON FUNCTION eventsourcing.complete_operation(p_access uuid, p_outcome jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.complete_operation(p_access uuid, p_outcome jsonb) FROM eventsourcing_all_tenants_owner;
GRANT ALL ON FUNCTION eventsourcing.complete_operation(p_access uuid, p_outcome jsonb) TO eventsourcing_administrator;
GRANT ALL ON FUNCTION eventsourcing.complete_operation(p_access uuid, p_outcome jsonb) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION create_committing(p_name text); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.create_committing(p_name text) FROM PUBLIC;

--
-- Name: FUNCTION declare_table(target regclass, handling text, reason text); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.declare_table(target regclass, handling text, reason text) FROM PUBLIC;

--
-- Name: FUNCTION define_plan(p_access uuid, p_name text, p_limits jsonb); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

REVOKE ALL ON FUNCTION eventsourcing.define_plan(p_access uuid, p_name text, p_limits jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.define_plan(p_access uuid, p_name text, p_limits jsonb) FROM eventsourcing_administrator_owner;
GRANT ALL ON FUNCTION eventsourcing.define_plan(p_access uuid, p_name text, p_limits jsonb) TO eventsourcing_administrator;

--
-- Name: FUNCTION end_expired_move(p_tenant uuid); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

REVOKE ALL ON FUNCTION eventsourcing.end_expired_move(p_tenant uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.end_expired_move(p_tenant uuid) FROM eventsourcing_administrator_owner;
GRANT ALL ON FUNCTION eventsourcing.end_expired_move(p_tenant uuid) TO eventsourcing_tenant;

--
-- Name: FUNCTION end_shared_rebuild(p_access uuid, p_projection text, p_version integer); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

REVOKE ALL ON FUNCTION eventsourcing.end_shared_rebuild(p_access uuid, p_projection text, p_version integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.end_shared_rebuild(p_access uuid, p_projection text, p_version integer) FROM eventsourcing_runner_owner;
GRANT ALL ON FUNCTION eventsourcing.end_shared_rebuild(p_access uuid, p_projection text, p_version integer) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION event_hash(p_previous bytea, p_tenant uuid, p_position bigint, p_aggregate_type text, p_aggregate_id text, p_version integer, p_event_id uuid, p_event_type text, p_schema_version integer, p_occurred_at timestamp with time zone, p_recorded_at timestamp with time zone, p_actor text, p_correlation_id text, p_causation_id text, p_metadata text, p_payload text, p_tags text[]); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.event_hash(p_previous bytea, p_tenant uuid, p_position bigint, p_aggregate_type text, p_aggregate_id text, p_version integer, p_event_id uuid, p_event_type text, p_schema_version integer, p_occurred_at timestamp with time zone, p_recorded_at timestamp with time zone, p_actor text, p_correlation_id text, p_causation_id text, p_metadata text, p_payload text, p_tags text[]) FROM PUBLIC;

--
-- Name: FUNCTION event_position(p_tenant uuid, p_event_id uuid); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.event_position(p_tenant uuid, p_event_id uuid) FROM PUBLIC;

--
-- Name: FUNCTION exclude_tenant(p_tenant uuid); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.exclude_tenant(p_tenant uuid) FROM PUBLIC;

--
-- Name: FUNCTION fail_projection(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_failed_position bigint, p_attempts integer, p_error text, p_kind text, p_waited_ms double precision, p_parked boolean, p_retry_in double precision, p_code text, p_message text, p_stack text); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.fail_projection(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_failed_position bigint, p_attempts integer, p_error text, p_kind text, p_waited_ms double precision, p_parked boolean, p_retry_in double precision, p_code text, p_message text, p_stack text) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.fail_projection(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_failed_position bigint, p_attempts integer, p_error text, p_kind text, p_waited_ms double precision, p_parked boolean, p_retry_in double precision, p_code text, p_message text, p_stack text) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION finish_rebuild(p_tenant uuid, p_projection text, p_version integer, p_position bigint); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.finish_rebuild(p_tenant uuid, p_projection text, p_version integer, p_position bigint) FROM PUBLIC;

--
-- Name: FUNCTION finish_shared_rebuild(p_access uuid, p_projection text, p_version integer); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

REVOKE ALL ON FUNCTION eventsourcing.finish_shared_rebuild(p_access uuid, p_projection text, p_version integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.finish_shared_rebuild(p_access uuid, p_projection text, p_version integer) FROM eventsourcing_runner_owner;
GRANT ALL ON FUNCTION eventsourcing.finish_shared_rebuild(p_access uuid, p_projection text, p_version integer) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION forgotten_counts(p_tenants text[]); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.forgotten_counts(p_tenants text[]) FROM PUBLIC;

--
-- Name: FUNCTION forgotten_subjects(p_tenant uuid, p_after integer, OUT forgotten integer, OUT subjects jsonb); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.forgotten_subjects(p_tenant uuid, p_after integer, OUT forgotten integer, OUT subjects jsonb) FROM PUBLIC;

--
-- Name: FUNCTION hash_chain_start(p_tenant uuid); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.hash_chain_start(p_tenant uuid) FROM PUBLIC;

--
-- Name: FUNCTION hold_tenant(p_access uuid, p_tenant uuid, p_reason text); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

REVOKE ALL ON FUNCTION eventsourcing.hold_tenant(p_access uuid, p_tenant uuid, p_reason text) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.hold_tenant(p_access uuid, p_tenant uuid, p_reason text) FROM eventsourcing_administrator_owner;
GRANT ALL ON FUNCTION eventsourcing.hold_tenant(p_access uuid, p_tenant uuid, p_reason text) TO eventsourcing_administrator;

--
-- Name: FUNCTION hold_twins(p_tables text[]); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.hold_twins(p_tables text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.hold_twins(p_tables text[]) TO eventsourcing_all_tenants;
GRANT ALL ON FUNCTION eventsourcing.hold_twins(p_tables text[]) TO eventsourcing_tenant;

--
-- Name: FUNCTION is_administered(); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

REVOKE ALL ON FUNCTION eventsourcing.is_administered() FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.is_administered() FROM eventsourcing_all_tenants_owner;
GRANT ALL ON FUNCTION eventsourcing.is_administered() TO eventsourcing_all_tenants;
GRANT ALL ON FUNCTION eventsourcing.is_administered() TO eventsourcing_tenant;

--
-- Name: FUNCTION isolation_problems(); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.isolation_problems() FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.isolation_problems() TO eventsourcing_administrator;
GRANT ALL ON FUNCTION eventsourcing.isolation_problems() TO eventsourcing_all_tenants;
GRANT ALL ON FUNCTION eventsourcing.isolation_problems() TO eventsourcing_tenant;

--
-- Name: FUNCTION keep_failure_cause(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_position bigint, p_kind text, p_code text, p_message text, p_stack text); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.keep_failure_cause(p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_position bigint, p_kind text, p_code text, p_message text, p_stack text) FROM PUBLIC;

--
-- Name: FUNCTION keys_without_tenant(p_tables oid[]); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.keys_without_tenant(p_tables oid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.keys_without_tenant(p_tables oid[]) TO eventsourcing_administrator;
GRANT ALL ON FUNCTION eventsourcing.keys_without_tenant(p_tables oid[]) TO eventsourcing_all_tenants;
GRANT ALL ON FUNCTION eventsourcing.keys_without_tenant(p_tables oid[]) TO eventsourcing_tenant;

--
-- Name: TABLE cross_tenant_accesses; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT,INSERT,DELETE ON TABLE eventsourcing.cross_tenant_accesses TO eventsourcing_all_tenants_owner;

--
-- Name: COLUMN cross_tenant_accesses.completed_at; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT UPDATE(completed_at) ON TABLE eventsourcing.cross_tenant_accesses TO eventsourcing_all_tenants_owner;

--
-- Name: COLUMN cross_tenant_accesses.outcome; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT UPDATE(outcome) ON TABLE eventsourcing.cross_tenant_accesses TO eventsourcing_all_tenants_owner;

--
-- Name: FUNCTION list_accesses(p_access uuid, p_operation text, p_before uuid, p_limit integer); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

REVOKE ALL ON FUNCTION eventsourcing.list_accesses(p_access uuid, p_operation text, p_before uuid, p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.list_accesses(p_access uuid, p_operation text, p_before uuid, p_limit integer) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION list_cross_tenant_accesses(p_access uuid, p_before uuid, p_limit integer); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

REVOKE ALL ON FUNCTION eventsourcing.list_cross_tenant_accesses(p_access uuid, p_before uuid, p_limit integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.list_cross_tenant_accesses(p_access uuid, p_before uuid, p_limit integer) FROM eventsourcing_all_tenants_owner;
GRANT ALL ON FUNCTION eventsourcing.list_cross_tenant_accesses(p_access uuid, p_before uuid, p_limit integer) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION list_dead_letters(p_tenant uuid, p_projection text, p_version integer, p_after bigint, p_limit integer); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.list_dead_letters(p_tenant uuid, p_projection text, p_version integer, p_after bigint, p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.list_dead_letters(p_tenant uuid, p_projection text, p_version integer, p_after bigint, p_limit integer) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION list_placements(); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.list_placements() FROM PUBLIC;

--
-- Name: FUNCTION list_plans(p_access uuid); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

REVOKE ALL ON FUNCTION eventsourcing.list_plans(p_access uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.list_plans(p_access uuid) FROM eventsourcing_administrator_owner;
GRANT ALL ON FUNCTION eventsourcing.list_plans(p_access uuid) TO eventsourcing_administrator;

--
-- Name: FUNCTION list_projection_failures(p_access uuid, p_tenant uuid, p_projection text, p_version integer); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

REVOKE ALL ON FUNCTION eventsourcing.list_projection_failures(p_access uuid, p_tenant uuid, p_projection text, p_version integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.list_projection_failures(p_access uuid, p_tenant uuid, p_projection text, p_version integer) FROM eventsourcing_all_tenants_owner;
GRANT ALL ON FUNCTION eventsourcing.list_projection_failures(p_access uuid, p_tenant uuid, p_projection text, p_version integer) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION list_streams(p_tenant uuid, p_aggregate_type text, p_after_type text, p_after_id text, p_limit integer); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.list_streams(p_tenant uuid, p_aggregate_type text, p_after_type text, p_after_id text, p_limit integer) FROM PUBLIC;

--
-- Name: FUNCTION list_tenants(p_access uuid, p_after uuid, p_limit integer); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

REVOKE ALL ON FUNCTION eventsourcing.list_tenants(p_access uuid, p_after uuid, p_limit integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.list_tenants(p_access uuid, p_after uuid, p_limit integer) FROM eventsourcing_all_tenants_owner;
GRANT ALL ON FUNCTION eventsourcing.list_tenants(p_access uuid, p_after uuid, p_limit integer) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION live_writes(p_tables text[]); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.live_writes(p_tables text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.live_writes(p_tables text[]) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION load_snapshot(p_tenant uuid, p_aggregate_type text, p_aggregate_id text); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.load_snapshot(p_tenant uuid, p_aggregate_type text, p_aggregate_id text) FROM PUBLIC;

--
-- Name: FUNCTION load_streams(p_tenants text[], p_aggregate_types text[], p_aggregate_ids text[], p_from integer[], p_to integer[], p_limits integer[], p_max_bytes bigint); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.load_streams(p_tenants text[], p_aggregate_types text[], p_aggregate_ids text[], p_from integer[], p_to integer[], p_limits integer[], p_max_bytes bigint) FROM PUBLIC;

--
-- Name: FUNCTION lock_live_projection(p_tenant uuid, p_projection text, p_version integer); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.lock_live_projection(p_tenant uuid, p_projection text, p_version integer) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.lock_live_projection(p_tenant uuid, p_projection text, p_version integer) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION log_head(p_tenant uuid, p_at bigint, OUT "position" double precision, OUT event_id text, OUT event_id_at text); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.log_head(p_tenant uuid, p_at bigint, OUT "position" double precision, OUT event_id text, OUT event_id_at text) FROM PUBLIC;

--
-- Name: FUNCTION matching_positions(p_tenant uuid, p_query jsonb, p_from bigint, p_to bigint, p_aggregate_types text[], p_event_types text[], p_backwards boolean, p_limit integer); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.matching_positions(p_tenant uuid, p_query jsonb, p_from bigint, p_to bigint, p_aggregate_types text[], p_event_types text[], p_backwards boolean, p_limit integer) FROM PUBLIC;

--
-- Name: FUNCTION moved_to(p_tenant uuid); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.moved_to(p_tenant uuid) FROM PUBLIC;

--
-- Name: FUNCTION moving_tenants(p_access uuid); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

REVOKE ALL ON FUNCTION eventsourcing.moving_tenants(p_access uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.moving_tenants(p_access uuid) FROM eventsourcing_all_tenants_owner;
GRANT ALL ON FUNCTION eventsourcing.moving_tenants(p_access uuid) TO eventsourcing_administrator;

--
-- Name: FUNCTION name_database(p_placement text, p_dedicated boolean); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.name_database(p_placement text, p_dedicated boolean) FROM PUBLIC;

--
-- Name: FUNCTION open_table(target regclass, policy text, command text, grantee text); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.open_table(target regclass, policy text, command text, grantee text) FROM PUBLIC;

--
-- Name: FUNCTION open_transactions(p_access uuid, p_tenant uuid); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

REVOKE ALL ON FUNCTION eventsourcing.open_transactions(p_access uuid, p_tenant uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.open_transactions(p_access uuid, p_tenant uuid) FROM eventsourcing_administrator_owner;
GRANT ALL ON FUNCTION eventsourcing.open_transactions(p_access uuid, p_tenant uuid) TO eventsourcing_administrator;

--
-- Name: FUNCTION other_work_waits(p_projections text[], p_versions integer[], p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

REVOKE ALL ON FUNCTION eventsourcing.other_work_waits(p_projections text[], p_versions integer[], p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.other_work_waits(p_projections text[], p_versions integer[], p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean) FROM eventsourcing_runner_owner;
GRANT ALL ON FUNCTION eventsourcing.other_work_waits(p_projections text[], p_versions integer[], p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean) TO eventsourcing_runner;

--
-- Name: FUNCTION park_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_error text); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

REVOKE ALL ON FUNCTION eventsourcing.park_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_error text) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.park_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_error text) FROM eventsourcing_runner_owner;
GRANT ALL ON FUNCTION eventsourcing.park_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_error text) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION pause_projection(p_tenant uuid, p_projection text, p_version integer, p_error text); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.pause_projection(p_tenant uuid, p_projection text, p_version integer, p_error text) FROM PUBLIC;

--
-- Name: FUNCTION place_tenant(p_access uuid, p_tenant uuid, p_placement text); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

REVOKE ALL ON FUNCTION eventsourcing.place_tenant(p_access uuid, p_tenant uuid, p_placement text) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.place_tenant(p_access uuid, p_tenant uuid, p_placement text) FROM eventsourcing_all_tenants_owner;
GRANT ALL ON FUNCTION eventsourcing.place_tenant(p_access uuid, p_tenant uuid, p_placement text) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION position_at(p_tenant uuid, p_time timestamp with time zone); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.position_at(p_tenant uuid, p_time timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION positions_of_types(p_tenant uuid, p_event_types text[], p_aggregate_types text[], p_from bigint, p_to bigint, p_backwards boolean, p_limit integer); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.positions_of_types(p_tenant uuid, p_event_types text[], p_aggregate_types text[], p_from bigint, p_to bigint, p_backwards boolean, p_limit integer) FROM PUBLIC;

--
-- Name: FUNCTION prepare_shared_switch(p_access uuid, p_projection text, p_version integer); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

REVOKE ALL ON FUNCTION eventsourcing.prepare_shared_switch(p_access uuid, p_projection text, p_version integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.prepare_shared_switch(p_access uuid, p_projection text, p_version integer) FROM eventsourcing_runner_owner;
GRANT ALL ON FUNCTION eventsourcing.prepare_shared_switch(p_access uuid, p_projection text, p_version integer) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION projection_backlog(p_projections text[], p_versions integer[]); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

REVOKE ALL ON FUNCTION eventsourcing.projection_backlog(p_projections text[], p_versions integer[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.projection_backlog(p_projections text[], p_versions integer[]) FROM eventsourcing_runner_owner;
GRANT ALL ON FUNCTION eventsourcing.projection_backlog(p_projections text[], p_versions integer[]) TO eventsourcing_runner;

--
-- Name: FUNCTION projection_dead_letters(p_projections text[], p_versions integer[]); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

REVOKE ALL ON FUNCTION eventsourcing.projection_dead_letters(p_projections text[], p_versions integer[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.projection_dead_letters(p_projections text[], p_versions integer[]) FROM eventsourcing_runner_owner;
GRANT ALL ON FUNCTION eventsourcing.projection_dead_letters(p_projections text[], p_versions integer[]) TO eventsourcing_runner;

--
-- Name: FUNCTION projection_retired(p_projection text, p_version integer); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

REVOKE ALL ON FUNCTION eventsourcing.projection_retired(p_projection text, p_version integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.projection_retired(p_projection text, p_version integer) FROM eventsourcing_runner_owner;
GRANT ALL ON FUNCTION eventsourcing.projection_retired(p_projection text, p_version integer) TO eventsourcing_tenant;

--
-- Name: FUNCTION projection_status(p_tenant uuid, p_projection text, p_version integer); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.projection_status(p_tenant uuid, p_projection text, p_version integer) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.projection_status(p_tenant uuid, p_projection text, p_version integer) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION protect_tenant_table(target regclass); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.protect_tenant_table(target regclass) FROM PUBLIC;

--
-- Name: FUNCTION provision_tenant(p_tenant uuid); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.provision_tenant(p_tenant uuid) FROM PUBLIC;

--
-- Name: FUNCTION purge_tenant(p_access uuid, p_tenant uuid, p_token uuid, p_limit integer); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.purge_tenant(p_access uuid, p_tenant uuid, p_token uuid, p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.purge_tenant(p_access uuid, p_tenant uuid, p_token uuid, p_limit integer) TO eventsourcing_administrator;

--
-- Name: FUNCTION quota_refusal(p_tenant uuid, p_quota jsonb, p_position bigint, p_events integer, p_bytes integer, p_time timestamp with time zone); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.quota_refusal(p_tenant uuid, p_quota jsonb, p_position bigint, p_events integer, p_bytes integer, p_time timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION read_all_logs(p_access uuid, p_after_tenant uuid, p_after_position bigint, p_limit integer, p_max_bytes bigint); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

REVOKE ALL ON FUNCTION eventsourcing.read_all_logs(p_access uuid, p_after_tenant uuid, p_after_position bigint, p_limit integer, p_max_bytes bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.read_all_logs(p_access uuid, p_after_tenant uuid, p_after_position bigint, p_limit integer, p_max_bytes bigint) FROM eventsourcing_all_tenants_owner;
GRANT ALL ON FUNCTION eventsourcing.read_all_logs(p_access uuid, p_after_tenant uuid, p_after_position bigint, p_limit integer, p_max_bytes bigint) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION read_log(p_tenant uuid, p_from bigint, p_to bigint, p_recorded_from timestamp with time zone, p_recorded_before timestamp with time zone, p_aggregate_types text[], p_event_types text[], p_query jsonb, p_backwards boolean, p_limit integer, p_max_bytes bigint); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.read_log(p_tenant uuid, p_from bigint, p_to bigint, p_recorded_from timestamp with time zone, p_recorded_before timestamp with time zone, p_aggregate_types text[], p_event_types text[], p_query jsonb, p_backwards boolean, p_limit integer, p_max_bytes bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.read_log(p_tenant uuid, p_from bigint, p_to bigint, p_recorded_from timestamp with time zone, p_recorded_before timestamp with time zone, p_aggregate_types text[], p_event_types text[], p_query jsonb, p_backwards boolean, p_limit integer, p_max_bytes bigint) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION read_model_name(target regclass); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.read_model_name(target regclass) FROM PUBLIC;

--
-- Name: FUNCTION read_raw_log(p_access uuid, p_tenant uuid, p_from bigint, p_to bigint, p_limit integer, p_max_bytes bigint); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

REVOKE ALL ON FUNCTION eventsourcing.read_raw_log(p_access uuid, p_tenant uuid, p_from bigint, p_to bigint, p_limit integer, p_max_bytes bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.read_raw_log(p_access uuid, p_tenant uuid, p_from bigint, p_to bigint, p_limit integer, p_max_bytes bigint) FROM eventsourcing_administrator_owner;
GRANT ALL ON FUNCTION eventsourcing.read_raw_log(p_access uuid, p_tenant uuid, p_from bigint, p_to bigint, p_limit integer, p_max_bytes bigint) TO eventsourcing_administrator;

--
-- Name: FUNCTION read_stream(p_tenant uuid, p_aggregate_type text, p_aggregate_id text, p_from integer, p_to integer, p_backwards boolean, p_limit integer, p_max_bytes bigint); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.read_stream(p_tenant uuid, p_aggregate_type text, p_aggregate_id text, p_from integer, p_to integer, p_backwards boolean, p_limit integer, p_max_bytes bigint) FROM PUBLIC;

--
-- Name: FUNCTION read_tenant_rows(p_access uuid, p_tenant uuid, p_kind text, p_after text, p_limit integer, p_from bigint); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

REVOKE ALL ON FUNCTION eventsourcing.read_tenant_rows(p_access uuid, p_tenant uuid, p_kind text, p_after text, p_limit integer, p_from bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.read_tenant_rows(p_access uuid, p_tenant uuid, p_kind text, p_after text, p_limit integer, p_from bigint) FROM eventsourcing_administrator_owner;
GRANT ALL ON FUNCTION eventsourcing.read_tenant_rows(p_access uuid, p_tenant uuid, p_kind text, p_after text, p_limit integer, p_from bigint) TO eventsourcing_administrator;

--
-- Name: FUNCTION read_tenant_table(p_access uuid, p_tenant uuid, p_table text, p_after text, p_limit integer); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

REVOKE ALL ON FUNCTION eventsourcing.read_tenant_table(p_access uuid, p_tenant uuid, p_table text, p_after text, p_limit integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.read_tenant_table(p_access uuid, p_tenant uuid, p_table text, p_after text, p_limit integer) FROM eventsourcing_administrator_owner;
GRANT ALL ON FUNCTION eventsourcing.read_tenant_table(p_access uuid, p_tenant uuid, p_table text, p_after text, p_limit integer) TO eventsourcing_administrator;

--
-- Name: FUNCTION rebuild_problem(p_projection text, p_version integer, p_tables text[], p_shared boolean); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.rebuild_problem(p_projection text, p_version integer, p_tables text[], p_shared boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.rebuild_problem(p_projection text, p_version integer, p_tables text[], p_shared boolean) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION record_cross_tenant_access(p_access uuid, p_actor text, p_reason text, p_operation text); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

REVOKE ALL ON FUNCTION eventsourcing.record_cross_tenant_access(p_access uuid, p_actor text, p_reason text, p_operation text) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.record_cross_tenant_access(p_access uuid, p_actor text, p_reason text, p_operation text) FROM eventsourcing_all_tenants_owner;
GRANT ALL ON FUNCTION eventsourcing.record_cross_tenant_access(p_access uuid, p_actor text, p_reason text, p_operation text) TO eventsourcing_administrator;
GRANT ALL ON FUNCTION eventsourcing.record_cross_tenant_access(p_access uuid, p_actor text, p_reason text, p_operation text) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION record_operation(p_access uuid, p_actor text, p_reason text, p_operation text, p_parameters jsonb); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

REVOKE ALL ON FUNCTION eventsourcing.record_operation(p_access uuid, p_actor text, p_reason text, p_operation text, p_parameters jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.record_operation(p_access uuid, p_actor text, p_reason text, p_operation text, p_parameters jsonb) TO eventsourcing_administrator;
GRANT ALL ON FUNCTION eventsourcing.record_operation(p_access uuid, p_actor text, p_reason text, p_operation text, p_parameters jsonb) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION recorded_access(p_access uuid, OUT actor text, OUT reason text); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

REVOKE ALL ON FUNCTION eventsourcing.recorded_access(p_access uuid, OUT actor text, OUT reason text) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.recorded_access(p_access uuid, OUT actor text, OUT reason text) FROM eventsourcing_all_tenants_owner;
GRANT ALL ON FUNCTION eventsourcing.recorded_access(p_access uuid, OUT actor text, OUT reason text) TO eventsourcing_administrator_owner;

--
-- Name: FUNCTION register_inline_projection(p_projection text, p_version integer, p_tables text[]); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

REVOKE ALL ON FUNCTION eventsourcing.register_inline_projection(p_projection text, p_version integer, p_tables text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.register_inline_projection(p_projection text, p_version integer, p_tables text[]) FROM eventsourcing_runner_owner;
GRANT ALL ON FUNCTION eventsourcing.register_inline_projection(p_projection text, p_version integer, p_tables text[]) TO eventsourcing_tenant;

--
-- Name: FUNCTION register_projection(p_projection text, p_version integer, p_tables text[], p_from_now boolean); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

REVOKE ALL ON FUNCTION eventsourcing.register_projection(p_projection text, p_version integer, p_tables text[], p_from_now boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.register_projection(p_projection text, p_version integer, p_tables text[], p_from_now boolean) FROM eventsourcing_runner_owner;
GRANT ALL ON FUNCTION eventsourcing.register_projection(p_projection text, p_version integer, p_tables text[], p_from_now boolean) TO eventsourcing_runner;

--
-- Name: FUNCTION register_read_model(target regclass); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.register_read_model(target regclass) FROM PUBLIC;

--
-- Name: FUNCTION register_shared_read_model(target regclass); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.register_shared_read_model(target regclass) FROM PUBLIC;

--
-- Name: FUNCTION remove_dead_letter(p_tenant uuid, p_projection text, p_version integer, p_position bigint, p_reason text); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.remove_dead_letter(p_tenant uuid, p_projection text, p_version integer, p_position bigint, p_reason text) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.remove_dead_letter(p_tenant uuid, p_projection text, p_version integer, p_position bigint, p_reason text) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION remove_expired_keys(p_limit integer); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

REVOKE ALL ON FUNCTION eventsourcing.remove_expired_keys(p_limit integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.remove_expired_keys(p_limit integer) FROM eventsourcing_runner_owner;
GRANT ALL ON FUNCTION eventsourcing.remove_expired_keys(p_limit integer) TO eventsourcing_runner;

--
-- Name: FUNCTION remove_old_accesses(p_seconds double precision); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

REVOKE ALL ON FUNCTION eventsourcing.remove_old_accesses(p_seconds double precision) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.remove_old_accesses(p_seconds double precision) FROM eventsourcing_all_tenants_owner;
GRANT ALL ON FUNCTION eventsourcing.remove_old_accesses(p_seconds double precision) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION remove_snapshot(p_tenant uuid, p_aggregate_type text, p_aggregate_id text); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.remove_snapshot(p_tenant uuid, p_aggregate_type text, p_aggregate_id text) FROM PUBLIC;

--
-- Name: FUNCTION renew_twins(p_tables text[]); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.renew_twins(p_tables text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.renew_twins(p_tables text[]) TO eventsourcing_all_tenants;
GRANT ALL ON FUNCTION eventsourcing.renew_twins(p_tables text[]) TO eventsourcing_tenant;

--
-- Name: FUNCTION replace_placement(p_access uuid, p_tenant uuid, p_from text, p_to text); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

REVOKE ALL ON FUNCTION eventsourcing.replace_placement(p_access uuid, p_tenant uuid, p_from text, p_to text) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.replace_placement(p_access uuid, p_tenant uuid, p_from text, p_to text) FROM eventsourcing_all_tenants_owner;
GRANT ALL ON FUNCTION eventsourcing.replace_placement(p_access uuid, p_tenant uuid, p_from text, p_to text) TO eventsourcing_administrator;

--
-- Name: FUNCTION require_cross_tenant_access(p_access uuid); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

REVOKE ALL ON FUNCTION eventsourcing.require_cross_tenant_access(p_access uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.require_cross_tenant_access(p_access uuid) TO eventsourcing_administrator_owner;
GRANT ALL ON FUNCTION eventsourcing.require_cross_tenant_access(p_access uuid) TO eventsourcing_all_tenants;
GRANT ALL ON FUNCTION eventsourcing.require_cross_tenant_access(p_access uuid) TO eventsourcing_runner_owner;

--
-- Name: FUNCTION require_visible(p_tenant uuid); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.require_visible(p_tenant uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.require_visible(p_tenant uuid) TO eventsourcing_all_tenants;
GRANT ALL ON FUNCTION eventsourcing.require_visible(p_tenant uuid) TO eventsourcing_tenant;

--
-- Name: FUNCTION resume_projection(p_tenant uuid, p_projection text, p_version integer); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.resume_projection(p_tenant uuid, p_projection text, p_version integer) FROM PUBLIC;

--
-- Name: FUNCTION resume_projections(p_access uuid, p_projection text, p_version integer); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

REVOKE ALL ON FUNCTION eventsourcing.resume_projections(p_access uuid, p_projection text, p_version integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.resume_projections(p_access uuid, p_projection text, p_version integer) FROM eventsourcing_all_tenants_owner;
GRANT ALL ON FUNCTION eventsourcing.resume_projections(p_access uuid, p_projection text, p_version integer) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION retire_projection(p_access uuid, p_projection text, p_version integer); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

REVOKE ALL ON FUNCTION eventsourcing.retire_projection(p_access uuid, p_projection text, p_version integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.retire_projection(p_access uuid, p_projection text, p_version integer) FROM eventsourcing_runner_owner;
GRANT ALL ON FUNCTION eventsourcing.retire_projection(p_access uuid, p_projection text, p_version integer) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION save_snapshot(p_tenant uuid, p_aggregate_type text, p_aggregate_id text, p_version integer, p_position bigint, p_event_id uuid, p_recorded_at timestamp with time zone, p_state_version integer, p_fingerprint text, p_checksum text, p_state text, p_useless_version integer, p_useless_checksum text); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.save_snapshot(p_tenant uuid, p_aggregate_type text, p_aggregate_id text, p_version integer, p_position bigint, p_event_id uuid, p_recorded_at timestamp with time zone, p_state_version integer, p_fingerprint text, p_checksum text, p_state text, p_useless_version integer, p_useless_checksum text) FROM PUBLIC;

--
-- Name: FUNCTION set_quota(p_access uuid, p_tenant uuid, p_quota jsonb); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

REVOKE ALL ON FUNCTION eventsourcing.set_quota(p_access uuid, p_tenant uuid, p_quota jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.set_quota(p_access uuid, p_tenant uuid, p_quota jsonb) FROM eventsourcing_administrator_owner;
GRANT ALL ON FUNCTION eventsourcing.set_quota(p_access uuid, p_tenant uuid, p_quota jsonb) TO eventsourcing_administrator;

--
-- Name: FUNCTION set_tenant_status(p_access uuid, p_tenant uuid, p_status text); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

REVOKE ALL ON FUNCTION eventsourcing.set_tenant_status(p_access uuid, p_tenant uuid, p_status text) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.set_tenant_status(p_access uuid, p_tenant uuid, p_status text) FROM eventsourcing_all_tenants_owner;
GRANT ALL ON FUNCTION eventsourcing.set_tenant_status(p_access uuid, p_tenant uuid, p_status text) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION shared_rebuild_lag(p_access uuid, p_projection text, p_version integer); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

REVOKE ALL ON FUNCTION eventsourcing.shared_rebuild_lag(p_access uuid, p_projection text, p_version integer) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.shared_rebuild_lag(p_access uuid, p_projection text, p_version integer) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION start_hash_chain(p_tenant uuid); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.start_hash_chain(p_tenant uuid) FROM PUBLIC;

--
-- Name: FUNCTION start_rebuild(p_tenant uuid, p_projection text, p_version integer); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.start_rebuild(p_tenant uuid, p_projection text, p_version integer) FROM PUBLIC;

--
-- Name: FUNCTION start_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_tables text[], p_restart boolean); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.start_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_tables text[], p_restart boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.start_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_tables text[], p_restart boolean) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION stream_log(p_tenant uuid, p_from bigint, p_to bigint, p_aggregate_types text[], p_event_types text[]); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.stream_log(p_tenant uuid, p_from bigint, p_to bigint, p_aggregate_types text[], p_event_types text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.stream_log(p_tenant uuid, p_from bigint, p_to bigint, p_aggregate_types text[], p_event_types text[]) TO eventsourcing_tenant;

--
-- Name: FUNCTION stream_raw_log(p_access uuid, p_tenant uuid, p_from bigint, p_to bigint, p_max_bytes bigint); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

REVOKE ALL ON FUNCTION eventsourcing.stream_raw_log(p_access uuid, p_tenant uuid, p_from bigint, p_to bigint, p_max_bytes bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.stream_raw_log(p_access uuid, p_tenant uuid, p_from bigint, p_to bigint, p_max_bytes bigint) FROM eventsourcing_administrator_owner;
GRANT ALL ON FUNCTION eventsourcing.stream_raw_log(p_access uuid, p_tenant uuid, p_from bigint, p_to bigint, p_max_bytes bigint) TO eventsourcing_administrator;

--
-- Name: FUNCTION stream_version(p_tenant uuid, p_aggregate_type text, p_aggregate_id text); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.stream_version(p_tenant uuid, p_aggregate_type text, p_aggregate_id text) FROM PUBLIC;

--
-- Name: FUNCTION streams_end_with(p_tenants text[], p_aggregate_types text[], p_aggregate_ids text[], p_versions integer[], p_event_ids uuid[], p_forgotten integer[]); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.streams_end_with(p_tenants text[], p_aggregate_types text[], p_aggregate_ids text[], p_versions integer[], p_event_ids uuid[], p_forgotten integer[]) FROM PUBLIC;

--
-- Name: FUNCTION summarise_blocks(p_tenant uuid, p_from bigint, p_to bigint); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.summarise_blocks(p_tenant uuid, p_from bigint, p_to bigint) FROM PUBLIC;

--
-- Name: FUNCTION switch_rebuild(p_tenant uuid, p_projection text, p_version integer, p_tables text[], p_position bigint); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.switch_rebuild(p_tenant uuid, p_projection text, p_version integer, p_tables text[], p_position bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.switch_rebuild(p_tenant uuid, p_projection text, p_version integer, p_tables text[], p_position bigint) TO eventsourcing_tenant;

--
-- Name: FUNCTION switch_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_tables text[]); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.switch_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_tables text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.switch_shared_rebuild(p_access uuid, p_projection text, p_version integer, p_tables text[]) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION tables_of_tenants(); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.tables_of_tenants() FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.tables_of_tenants() TO eventsourcing_administrator_owner;

--
-- Name: FUNCTION taken_table(p_projection text, p_version integer, p_tables text[]); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

REVOKE ALL ON FUNCTION eventsourcing.taken_table(p_projection text, p_version integer, p_tables text[]) FROM PUBLIC;

--
-- Name: FUNCTION tenant_overviews(p_access uuid, p_order text, p_statuses text[], p_prefix text, p_after_value double precision, p_after_tenant uuid, p_limit integer); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

REVOKE ALL ON FUNCTION eventsourcing.tenant_overviews(p_access uuid, p_order text, p_statuses text[], p_prefix text, p_after_value double precision, p_after_tenant uuid, p_limit integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.tenant_overviews(p_access uuid, p_order text, p_statuses text[], p_prefix text, p_after_value double precision, p_after_tenant uuid, p_limit integer) FROM eventsourcing_all_tenants_owner;
GRANT ALL ON FUNCTION eventsourcing.tenant_overviews(p_access uuid, p_order text, p_statuses text[], p_prefix text, p_after_value double precision, p_after_tenant uuid, p_limit integer) TO eventsourcing_administrator;

--
-- Name: FUNCTION tenant_placement(p_tenant uuid); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.tenant_placement(p_tenant uuid) FROM PUBLIC;

--
-- Name: FUNCTION tenant_status(p_tenant uuid); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.tenant_status(p_tenant uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.tenant_status(p_tenant uuid) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION tenant_under_import(p_access uuid, p_tenant uuid, p_token uuid); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

REVOKE ALL ON FUNCTION eventsourcing.tenant_under_import(p_access uuid, p_tenant uuid, p_token uuid) FROM PUBLIC;

--
-- Name: FUNCTION tenants_beyond_share(); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_runner_owner
--

REVOKE ALL ON FUNCTION eventsourcing.tenants_beyond_share() FROM PUBLIC;

--
-- Name: FUNCTION twin_difference(p_live oid, p_twin oid); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.twin_difference(p_live oid, p_twin oid) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.twin_difference(p_live oid, p_twin oid) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION twins_of(p_tables text[]); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_tenant
--

REVOKE ALL ON FUNCTION eventsourcing.twins_of(p_tables text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.twins_of(p_tables text[]) TO eventsourcing_all_tenants;
GRANT ALL ON FUNCTION eventsourcing.twins_of(p_tables text[]) TO eventsourcing_runner_owner;

--
-- Name: FUNCTION unregister_read_model(read_model text); Type: ACL; Schema: eventsourcing; Owner: postgres
--

REVOKE ALL ON FUNCTION eventsourcing.unregister_read_model(read_model text) FROM PUBLIC;

--
-- Name: FUNCTION unseen_tenants(p_moving boolean); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

REVOKE ALL ON FUNCTION eventsourcing.unseen_tenants(p_moving boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION eventsourcing.unseen_tenants(p_moving boolean) TO eventsourcing_runner_owner;

--
-- Name: FUNCTION usage(p_access uuid, p_from timestamp with time zone, p_before timestamp with time zone, p_after_tenant uuid, p_after_day timestamp with time zone, p_limit integer); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

REVOKE ALL ON FUNCTION eventsourcing.usage(p_access uuid, p_from timestamp with time zone, p_before timestamp with time zone, p_after_tenant uuid, p_after_day timestamp with time zone, p_limit integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.usage(p_access uuid, p_from timestamp with time zone, p_before timestamp with time zone, p_after_tenant uuid, p_after_day timestamp with time zone, p_limit integer) FROM eventsourcing_all_tenants_owner;
GRANT ALL ON FUNCTION eventsourcing.usage(p_access uuid, p_from timestamp with time zone, p_before timestamp with time zone, p_after_tenant uuid, p_after_day timestamp with time zone, p_limit integer) TO eventsourcing_all_tenants;

--
-- Name: FUNCTION usage_position(p_tenant uuid, p_head bigint, p_time timestamp with time zone); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_all_tenants_owner
--

REVOKE ALL ON FUNCTION eventsourcing.usage_position(p_tenant uuid, p_head bigint, p_time timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION write_events(p_access uuid, p_tenant uuid, p_token uuid, p_first bigint, p_aggregate_types text[], p_aggregate_ids text[], p_versions integer[], p_event_ids uuid[], p_event_types text[], p_schema_versions integer[], p_occurred_at timestamp with time zone[], p_recorded_at timestamp with time zone[], p_actors text[], p_correlation_ids text[], p_causation_ids text[], p_metadata text[], p_payloads text[], p_tags text[], p_hashes text[], p_traceparents text[]); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

REVOKE ALL ON FUNCTION eventsourcing.write_events(p_access uuid, p_tenant uuid, p_token uuid, p_first bigint, p_aggregate_types text[], p_aggregate_ids text[], p_versions integer[], p_event_ids uuid[], p_event_types text[], p_schema_versions integer[], p_occurred_at timestamp with time zone[], p_recorded_at timestamp with time zone[], p_actors text[], p_correlation_ids text[], p_causation_ids text[], p_metadata text[], p_payloads text[], p_tags text[], p_hashes text[], p_traceparents text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.write_events(p_access uuid, p_tenant uuid, p_token uuid, p_first bigint, p_aggregate_types text[], p_aggregate_ids text[], p_versions integer[], p_event_ids uuid[], p_event_types text[], p_schema_versions integer[], p_occurred_at timestamp with time zone[], p_recorded_at timestamp with time zone[], p_actors text[], p_correlation_ids text[], p_causation_ids text[], p_metadata text[], p_payloads text[], p_tags text[], p_hashes text[], p_traceparents text[]) FROM eventsourcing_administrator_owner;
GRANT ALL ON FUNCTION eventsourcing.write_events(p_access uuid, p_tenant uuid, p_token uuid, p_first bigint, p_aggregate_types text[], p_aggregate_ids text[], p_versions integer[], p_event_ids uuid[], p_event_types text[], p_schema_versions integer[], p_occurred_at timestamp with time zone[], p_recorded_at timestamp with time zone[], p_actors text[], p_correlation_ids text[], p_causation_ids text[], p_metadata text[], p_payloads text[], p_tags text[], p_hashes text[], p_traceparents text[]) TO eventsourcing_administrator;

--
-- Name: FUNCTION write_tenant_rows(p_access uuid, p_tenant uuid, p_token uuid, p_kind text, p_rows jsonb); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

REVOKE ALL ON FUNCTION eventsourcing.write_tenant_rows(p_access uuid, p_tenant uuid, p_token uuid, p_kind text, p_rows jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.write_tenant_rows(p_access uuid, p_tenant uuid, p_token uuid, p_kind text, p_rows jsonb) FROM eventsourcing_administrator_owner;
GRANT ALL ON FUNCTION eventsourcing.write_tenant_rows(p_access uuid, p_tenant uuid, p_token uuid, p_kind text, p_rows jsonb) TO eventsourcing_administrator;

--
-- Name: FUNCTION write_tenant_table(p_access uuid, p_tenant uuid, p_token uuid, p_table text, p_rows text, p_replace boolean); Type: ACL; Schema: eventsourcing; Owner: eventsourcing_administrator_owner
--

REVOKE ALL ON FUNCTION eventsourcing.write_tenant_table(p_access uuid, p_tenant uuid, p_token uuid, p_table text, p_rows text, p_replace boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION eventsourcing.write_tenant_table(p_access uuid, p_tenant uuid, p_token uuid, p_table text, p_rows text, p_replace boolean) FROM eventsourcing_administrator_owner;
GRANT ALL ON FUNCTION eventsourcing.write_tenant_table(p_access uuid, p_tenant uuid, p_token uuid, p_table text, p_rows text, p_replace boolean) TO eventsourcing_administrator;

--
-- Name: TABLE command_keys; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE eventsourcing.command_keys TO eventsourcing_tenant;
GRANT DELETE ON TABLE eventsourcing.command_keys TO eventsourcing_runner_owner;

--
-- Name: COLUMN command_keys.tenant_id; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT(tenant_id) ON TABLE eventsourcing.command_keys TO eventsourcing_runner_owner;

--
-- Name: COLUMN command_keys.key; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT(key) ON TABLE eventsourcing.command_keys TO eventsourcing_runner_owner;

--
-- Name: COLUMN command_keys.expires_at; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT(expires_at),UPDATE(expires_at) ON TABLE eventsourcing.command_keys TO eventsourcing_runner_owner;

--
-- Name: TABLE dead_letters; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT,INSERT,DELETE ON TABLE eventsourcing.dead_letters TO eventsourcing_tenant;
GRANT DELETE ON TABLE eventsourcing.dead_letters TO eventsourcing_runner_owner;

--
-- Name: COLUMN dead_letters.tenant_id; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT(tenant_id) ON TABLE eventsourcing.dead_letters TO eventsourcing_all_tenants_owner;

--
-- Name: COLUMN dead_letters.projection; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT(projection) ON TABLE eventsourcing.dead_letters TO eventsourcing_runner_owner;

--
-- Name: COLUMN dead_letters.version; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT(version) ON TABLE eventsourcing.dead_letters TO eventsourcing_runner_owner;

--
-- Name: COLUMN dead_letters.rebuild; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT UPDATE(rebuild) ON TABLE eventsourcing.dead_letters TO eventsourcing_tenant;
GRANT SELECT(rebuild),UPDATE(rebuild) ON TABLE eventsourcing.dead_letters TO eventsourcing_runner_owner;
GRANT SELECT(rebuild) ON TABLE eventsourcing.dead_letters TO eventsourcing_all_tenants_owner;

--
-- Name: COLUMN dead_letters.failed_at; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT(failed_at) ON TABLE eventsourcing.dead_letters TO eventsourcing_runner_owner;

--
-- Name: TABLE declared_tables; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT ON TABLE eventsourcing.declared_tables TO eventsourcing_administrator_owner;

--
-- Name: TABLE discarded_dead_letters; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT,INSERT ON TABLE eventsourcing.discarded_dead_letters TO eventsourcing_tenant;
GRANT DELETE ON TABLE eventsourcing.discarded_dead_letters TO eventsourcing_administrator_owner;

--
-- Name: TABLE event_blocks; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT,INSERT ON TABLE eventsourcing.event_blocks TO eventsourcing_tenant;

--
-- Name: TABLE event_tags; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT,INSERT ON TABLE eventsourcing.event_tags TO eventsourcing_tenant;

--
-- Name: TABLE events; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT,INSERT ON TABLE eventsourcing.events TO eventsourcing_tenant;
GRANT SELECT ON TABLE eventsourcing.events TO eventsourcing_all_tenants_owner;

--
-- Name: COLUMN events.tenant_id; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT(tenant_id) ON TABLE eventsourcing.events TO eventsourcing_runner_owner;

--
-- Name: COLUMN events."position"; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT("position") ON TABLE eventsourcing.events TO eventsourcing_runner_owner;

--
-- Name: COLUMN events.recorded_at; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT(recorded_at) ON TABLE eventsourcing.events TO eventsourcing_runner_owner;

--
-- Name: TABLE placements; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT ON TABLE eventsourcing.placements TO eventsourcing_tenant;
GRANT SELECT ON TABLE eventsourcing.placements TO eventsourcing_all_tenants_owner;

--
-- Name: TABLE plans; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT ON TABLE eventsourcing.plans TO eventsourcing_tenant;
GRANT SELECT,INSERT,UPDATE ON TABLE eventsourcing.plans TO eventsourcing_administrator_owner;

--
-- Name: TABLE projection_failures; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT INSERT,DELETE ON TABLE eventsourcing.projection_failures TO eventsourcing_tenant;
GRANT SELECT ON TABLE eventsourcing.projection_failures TO eventsourcing_all_tenants_owner;
GRANT DELETE ON TABLE eventsourcing.projection_failures TO eventsourcing_runner_owner;

--
-- Name: COLUMN projection_failures.tenant_id; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT(tenant_id) ON TABLE eventsourcing.projection_failures TO eventsourcing_tenant;

--
-- Name: COLUMN projection_failures.projection; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT(projection) ON TABLE eventsourcing.projection_failures TO eventsourcing_tenant;
GRANT SELECT(projection) ON TABLE eventsourcing.projection_failures TO eventsourcing_runner_owner;

--
-- Name: COLUMN projection_failures.version; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT(version) ON TABLE eventsourcing.projection_failures TO eventsourcing_tenant;
GRANT SELECT(version) ON TABLE eventsourcing.projection_failures TO eventsourcing_runner_owner;

--
-- Name: COLUMN projection_failures.rebuild; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT(rebuild) ON TABLE eventsourcing.projection_failures TO eventsourcing_tenant;

--
-- Name: COLUMN projection_failures."position"; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT("position") ON TABLE eventsourcing.projection_failures TO eventsourcing_tenant;

--
-- Name: COLUMN projection_failures.kind; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT UPDATE(kind) ON TABLE eventsourcing.projection_failures TO eventsourcing_tenant;

--
-- Name: COLUMN projection_failures.code; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT UPDATE(code) ON TABLE eventsourcing.projection_failures TO eventsourcing_tenant;

--
-- Name: COLUMN projection_failures.message; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT UPDATE(message) ON TABLE eventsourcing.projection_failures TO eventsourcing_tenant;

--
-- Name: COLUMN projection_failures.stack; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT UPDATE(stack) ON TABLE eventsourcing.projection_failures TO eventsourcing_tenant;

--
-- Name: COLUMN projection_failures.times; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT(times),UPDATE(times) ON TABLE eventsourcing.projection_failures TO eventsourcing_tenant;

--
-- Name: COLUMN projection_failures.last_at; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT(last_at),UPDATE(last_at) ON TABLE eventsourcing.projection_failures TO eventsourcing_tenant;

--
-- Name: TABLE projection_versions; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT,INSERT,UPDATE ON TABLE eventsourcing.projection_versions TO eventsourcing_runner_owner;

--
-- Name: COLUMN projection_versions.projection; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT(projection) ON TABLE eventsourcing.projection_versions TO eventsourcing_administrator_owner;

--
-- Name: COLUMN projection_versions.version; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT(version) ON TABLE eventsourcing.projection_versions TO eventsourcing_administrator_owner;

--
-- Name: COLUMN projection_versions.tables; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT(tables) ON TABLE eventsourcing.projection_versions TO eventsourcing_administrator_owner;

--
-- Name: TABLE projections; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE eventsourcing.projections TO eventsourcing_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE eventsourcing.projections TO eventsourcing_runner_owner;
GRANT SELECT ON TABLE eventsourcing.projections TO eventsourcing_all_tenants_owner;

--
-- Name: COLUMN projections.parked; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT UPDATE(parked) ON TABLE eventsourcing.projections TO eventsourcing_all_tenants_owner;

--
-- Name: COLUMN projections.attempts; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT UPDATE(attempts) ON TABLE eventsourcing.projections TO eventsourcing_all_tenants_owner;

--
-- Name: COLUMN projections.waited_ms; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT UPDATE(waited_ms) ON TABLE eventsourcing.projections TO eventsourcing_all_tenants_owner;

--
-- Name: COLUMN projections.retry_at; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT UPDATE(retry_at) ON TABLE eventsourcing.projections TO eventsourcing_all_tenants_owner;

--
-- Name: TABLE read_models; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT ON TABLE eventsourcing.read_models TO eventsourcing_tenant;
GRANT SELECT ON TABLE eventsourcing.read_models TO eventsourcing_all_tenants;
GRANT SELECT ON TABLE eventsourcing.read_models TO eventsourcing_all_tenants_owner;

--
-- Name: TABLE snapshots; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE eventsourcing.snapshots TO eventsourcing_tenant;

--
-- Name: TABLE subjects; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT ON TABLE eventsourcing.subjects TO eventsourcing_tenant;
GRANT INSERT ON TABLE eventsourcing.subjects TO eventsourcing_administrator_owner;

--
-- Name: COLUMN subjects.number; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT UPDATE(number) ON TABLE eventsourcing.subjects TO eventsourcing_administrator_owner;

--
-- Name: COLUMN subjects.forgotten; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT UPDATE(forgotten) ON TABLE eventsourcing.subjects TO eventsourcing_administrator_owner;

--
-- Name: COLUMN subjects.begun; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT UPDATE(begun) ON TABLE eventsourcing.subjects TO eventsourcing_administrator_owner;

--
-- Name: COLUMN subjects.hold; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT UPDATE(hold) ON TABLE eventsourcing.subjects TO eventsourcing_administrator_owner;

--
-- Name: TABLE tenant_directory; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT ON TABLE eventsourcing.tenant_directory TO eventsourcing_tenant;
GRANT SELECT,INSERT,UPDATE ON TABLE eventsourcing.tenant_directory TO eventsourcing_all_tenants_owner;

--
-- Name: TABLE tenants; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT SELECT ON TABLE eventsourcing.tenants TO eventsourcing_tenant;
GRANT SELECT ON TABLE eventsourcing.tenants TO eventsourcing_all_tenants_owner;

--
-- Name: COLUMN tenants.tenant_id; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT INSERT(tenant_id) ON TABLE eventsourcing.tenants TO eventsourcing_tenant;
GRANT INSERT(tenant_id) ON TABLE eventsourcing.tenants TO eventsourcing_administrator_owner;
GRANT SELECT(tenant_id) ON TABLE eventsourcing.tenants TO eventsourcing_runner_owner;

--
-- Name: COLUMN tenants.status; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT INSERT(status),UPDATE(status) ON TABLE eventsourcing.tenants TO eventsourcing_administrator_owner;
GRANT UPDATE(status) ON TABLE eventsourcing.tenants TO eventsourcing_all_tenants_owner;

--
-- Name: COLUMN tenants.lockable; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT UPDATE(lockable) ON TABLE eventsourcing.tenants TO eventsourcing_tenant;

--
-- Name: COLUMN tenants.chained_from; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT UPDATE(chained_from) ON TABLE eventsourcing.tenants TO eventsourcing_tenant;
GRANT UPDATE(chained_from) ON TABLE eventsourcing.tenants TO eventsourcing_administrator_owner;

--
-- Name: COLUMN tenants.undertaking; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT INSERT(undertaking),UPDATE(undertaking) ON TABLE eventsourcing.tenants TO eventsourcing_administrator_owner;

--
-- Name: COLUMN tenants.hold; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT UPDATE(hold) ON TABLE eventsourcing.tenants TO eventsourcing_administrator_owner;

--
-- Name: COLUMN tenants.origin; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT UPDATE(origin) ON TABLE eventsourcing.tenants TO eventsourcing_administrator_owner;

--
-- Name: COLUMN tenants.quota; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT UPDATE(quota) ON TABLE eventsourcing.tenants TO eventsourcing_administrator_owner;

--
-- Name: COLUMN tenants.forgotten_subjects; Type: ACL; Schema: eventsourcing; Owner: postgres
--

GRANT UPDATE(forgotten_subjects) ON TABLE eventsourcing.tenants TO eventsourcing_administrator_owner;

--
-- PostgreSQL database dump complete
--

