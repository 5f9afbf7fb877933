-- Loading several streams at once: a statement costs more than the events of a stream do.

-- What is folded of the beginning of several streams, each of a tenant: of the n-th what has p_from[n] <= version <=
-- p_to[n], in order. One row each, in the order of the request, with at most p_limits[n] or 128 events; complete says that
-- there are no more. The rows end early once the bytes of the events come to p_max_bytes: what is left is to be asked for again.
-- Payloads are NULL as in read_stream_contents.
--
-- Each tenant is bound when the loop comes to its stream: row-level security shows the events of that tenant alone.
create or replace function eventsourcing.read_streams_contents(
  p_tenants text[], p_aggregate_types text[], p_aggregate_ids text[], p_from integer[], p_to integer[],
  p_limits integer[], p_max_bytes bigint
)
returns table (
  request integer, first_version integer, event_types text[], schema_versions integer[], payloads text[],
  complete boolean
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
-- as in read_stream
set enable_sort = off
as $$
declare
  chunk    constant integer := 128;
  largest  constant bigint := least(p_max_bytes, 4194304) / chunk;
  v_tenant uuid;
  wanted   integer;
  events   integer;
  size     bigint;
  total    bigint := 0;
begin
  if nullif(current_setting('eventsourcing.tenant_id', true), '') is not null then
    -- within a transaction that is bound: refuses another tenant
    for n in 1 .. cardinality(p_tenants) loop
      perform eventsourcing.bind_tenant(p_tenants[n]::uuid);
    end loop;
  end if;
  for n in 1 .. cardinality(p_tenants) loop
    if p_tenants[n] is null then
      raise exception 'no tenant given' using errcode = 'ES002';
    end if;
    v_tenant := set_config('eventsourcing.tenant_id', p_tenants[n], true);
    request := n;
    wanted := least(chunk, p_limits[n]);
    select count(*), sum(e.bytes), min(e.version),
      case when min(e.event_type) = max(e.event_type) then array[min(e.event_type)] else array_agg(e.event_type) end,
      case when min(e.schema_version) = max(e.schema_version) then array[min(e.schema_version)]
        else array_agg(e.schema_version) end,
      array_agg(e.payload)
    into events, size, first_version, event_types, schema_versions, payloads
    from (
      select k.version, k.event_type, k.schema_version, k.bytes,
        case when k.bytes <= largest then k.payload::text end as payload
      from eventsourcing.events k
      where k.tenant_id = v_tenant and k.aggregate_type = p_aggregate_types[n]
        and k.aggregate_id = p_aggregate_ids[n] and k.version between p_from[n] and p_to[n]
      order by k.version
      limit wanted
    ) e;
    complete := events < wanted or events = 0;
    return next;
    total := total + coalesce(size, 0);
    exit when total >= p_max_bytes;
  end loop;
end
$$;

comment on function eventsourcing.read_streams_contents is
  'What is folded of the beginning of several streams, each of a tenant.';
