-- Reading one tenant. Each function binds the tenant and answers in one round trip.
-- Pages end after p_limit events or with the event that brings their bytes to p_max_bytes.

do $$
begin
  create type eventsourcing.stored_event as (
    "position"     double precision,
    aggregate_type text,
    aggregate_id   text,
    version        integer,
    event_id       uuid,
    event_type     text,
    schema_version integer,
    occurred_at    timestamptz,
    recorded_at    timestamptz,
    actor          text,
    correlation_id text,
    causation_id   text,
    metadata       text,
    payload        text,
    more           boolean
  );
exception
  when duplicate_object then null;
end
$$;
-- attributes that were added later
do $$
begin
  if not exists (
    select from pg_catalog.pg_attribute a
    where a.attrelid = 'eventsourcing.stored_event'::regclass and a.attname = 'tags' and not a.attisdropped
  ) then
    alter type eventsourcing.stored_event add attribute tags text[], add attribute hash text;
  end if;
end
$$;
comment on type eventsourcing.stored_event is
  'An event as the functions return it. position is a double: exact up to 2^53, and cheap to decode. more: whether something in range is behind it.';

-- Events of one stream with p_from <= version <= p_to, ascending or descending.
create or replace function eventsourcing.read_stream(
  p_tenant uuid, p_aggregate_type text, p_aggregate_id text, p_from integer, p_to integer,
  p_backwards boolean, p_limit integer, p_max_bytes bigint
)
returns setof eventsourcing.stored_event
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
-- in the order of the index, whatever the planner thinks of sorting: what is behind the page is not looked at
set enable_sort = off
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  if p_backwards then
    return query
      select e.position::double precision, e.aggregate_type, e.aggregate_id, e.version, e.event_id, e.event_type,
        e.schema_version, e.occurred_at, e.recorded_at, e.actor, e.correlation_id, e.causation_id,
        e.metadata::text, e.payload::text, e.more, e.tags, encode(e.hash, 'hex')
      from (
        select e.*, sum(e.bytes) over page as total, lead(true, 1, false) over page as more
        from eventsourcing.events e
        where e.tenant_id = p_tenant and e.aggregate_type = p_aggregate_type and e.aggregate_id = p_aggregate_id
          and e.version between p_from and p_to
        window page as (order by e.version desc rows unbounded preceding)
        order by e.version desc
        limit p_limit
      ) e
      where e.total - e.bytes < p_max_bytes
      order by e.version desc;
  else
    return query
      select e.position::double precision, e.aggregate_type, e.aggregate_id, e.version, e.event_id, e.event_type,
        e.schema_version, e.occurred_at, e.recorded_at, e.actor, e.correlation_id, e.causation_id,
        e.metadata::text, e.payload::text, e.more, e.tags, encode(e.hash, 'hex')
      from (
        select e.*, sum(e.bytes) over page as total, lead(true, 1, false) over page as more
        from eventsourcing.events e
        where e.tenant_id = p_tenant and e.aggregate_type = p_aggregate_type and e.aggregate_id = p_aggregate_id
          and e.version between p_from and p_to
        window page as (order by e.version rows unbounded preceding)
        order by e.version
        limit p_limit
      ) e
      where e.total - e.bytes < p_max_bytes
      order by e.version;
  end if;
end
$$;
comment on function eventsourcing.read_stream is 'One page of a stream of the tenant.';

-- The first position of the tenant's log recorded at or after p_time; one past the end if there is none.
-- A binary search: positions have no gaps and recorded_at never goes back, so the primary key is all it needs.
create or replace function eventsourcing.position_at(p_tenant uuid, p_time timestamptz)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
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
comment on function eventsourcing.position_at is 'First position of the tenant''s log recorded at or after a time.';

-- Events of the tenant's log with p_from <= position <= p_to, recorded in [p_recorded_from, p_recorded_before),
-- of the given aggregate and event types (NULL: all), and matching a query (NULL: all; see matching_positions), ascending
-- or descending.
drop function if exists eventsourcing.read_log(
  uuid, bigint, bigint, timestamptz, timestamptz, text[], text[], boolean, integer, bigint);
create or replace function eventsourcing.read_log(
  p_tenant uuid, p_from bigint, p_to bigint, p_recorded_from timestamptz, p_recorded_before timestamptz,
  p_aggregate_types text[], p_event_types text[], p_query jsonb, p_backwards boolean, p_limit integer,
  p_max_bytes bigint
)
returns setof eventsourcing.stored_event
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
-- as in read_stream
set enable_sort = off
as $$
declare
  first     bigint := p_from;
  last      bigint := p_to;
  positions bigint[];
begin
  perform eventsourcing.bind_tenant(p_tenant);
  if p_recorded_from is not null then
    first := greatest(first, eventsourcing.position_at(p_tenant, p_recorded_from));
  end if;
  if p_recorded_before is not null then
    last := least(last, eventsourcing.position_at(p_tenant, p_recorded_before) - 1);
  end if;
  if p_query is not null then
    -- with one more, which says whether there are more
    positions := eventsourcing.matching_positions(
      p_tenant, p_query, first, last, p_aggregate_types, p_event_types, p_backwards, least(p_limit, 2147483646) + 1);
    return query
      select e.position::double precision, e.aggregate_type, e.aggregate_id, e.version, e.event_id, e.event_type,
        e.schema_version, e.occurred_at, e.recorded_at, e.actor, e.correlation_id, e.causation_id,
        e.metadata::text, e.payload::text, e.more, e.tags, encode(e.hash, 'hex')
      from (
        select m.*, p.place, sum(m.bytes) over page as total, lead(true, 1, false) over page as more
        from unnest(positions) with ordinality p (position, place)
        -- one index lookup per event, whatever the planner knows of the log
        cross join lateral (
          select k.* from eventsourcing.events k
          where k.tenant_id = p_tenant and k.position between p.position and p.position order by k.position limit 1
        ) m
        window page as (order by p.place rows unbounded preceding)
        order by p.place
        limit p_limit
      ) e
      where e.total - e.bytes < p_max_bytes
      order by e.place;
  elsif p_backwards then
    return query
      select e.position::double precision, e.aggregate_type, e.aggregate_id, e.version, e.event_id, e.event_type,
        e.schema_version, e.occurred_at, e.recorded_at, e.actor, e.correlation_id, e.causation_id,
        e.metadata::text, e.payload::text, e.more, e.tags, encode(e.hash, 'hex')
      from (
        select e.*, sum(e.bytes) over page as total, lead(true, 1, false) over page as more
        from eventsourcing.events e
        where e.tenant_id = p_tenant and e.position between first and last
          and (p_aggregate_types is null or e.aggregate_type = any (p_aggregate_types))
          and (p_event_types is null or e.event_type = any (p_event_types))
        window page as (order by e.position desc rows unbounded preceding)
        order by e.position desc
        limit p_limit
      ) e
      where e.total - e.bytes < p_max_bytes
      order by e.position desc;
  else
    return query
      select e.position::double precision, e.aggregate_type, e.aggregate_id, e.version, e.event_id, e.event_type,
        e.schema_version, e.occurred_at, e.recorded_at, e.actor, e.correlation_id, e.causation_id,
        e.metadata::text, e.payload::text, e.more, e.tags, encode(e.hash, 'hex')
      from (
        select e.*, sum(e.bytes) over page as total, lead(true, 1, false) over page as more
        from eventsourcing.events e
        where e.tenant_id = p_tenant and e.position between first and last
          and (p_aggregate_types is null or e.aggregate_type = any (p_aggregate_types))
          and (p_event_types is null or e.event_type = any (p_event_types))
        window page as (order by e.position rows unbounded preceding)
        order by e.position
        limit p_limit
      ) e
      where e.total - e.bytes < p_max_bytes
      order by e.position;
  end if;
end
$$;
comment on function eventsourcing.read_log is 'One page of the log of the tenant.';

create or replace function eventsourcing.stream_version(p_tenant uuid, p_aggregate_type text, p_aggregate_id text)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  return coalesce((
    select e.version from eventsourcing.events e
    where e.tenant_id = p_tenant and e.aggregate_type = p_aggregate_type and e.aggregate_id = p_aggregate_id
    order by e.version desc limit 1
  ), 0);
end
$$;
comment on function eventsourcing.stream_version is 'The version of a stream of the tenant; 0 if it has no events.';

create or replace function eventsourcing.log_position(p_tenant uuid)
returns double precision
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  return coalesce(
    (select e.position from eventsourcing.events e where e.tenant_id = p_tenant order by e.position desc limit 1), 0);
end
$$;
comment on function eventsourcing.log_position is 'The last position of the tenant''s log; 0 if it is empty.';

-- Provisions the tenant: one row, and nothing happens if it is there. Returns its status.
create or replace function eventsourcing.provision_tenant(p_tenant uuid)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  insert into eventsourcing.tenants (tenant_id) values (p_tenant) on conflict do nothing;
  return (select t.status from eventsourcing.tenants t where t.tenant_id = p_tenant);
end
$$;
comment on function eventsourcing.provision_tenant is 'Adds the tenant if it is unknown; returns its status.';

create or replace function eventsourcing.tenant_status(p_tenant uuid)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  return (select t.status from eventsourcing.tenants t where t.tenant_id = p_tenant);
end
$$;
comment on function eventsourcing.tenant_status is 'active, suspended, or NULL for an unknown tenant.';
