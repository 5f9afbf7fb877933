-- What is folded of the events of one stream with p_from <= version <= p_to, in order, which have no gaps. Ends as soon as
-- there are p_limit, or their bytes come to p_max_bytes. A payload that is too large is NULL, as above.
create or replace function eventsourcing.read_stream_contents(
  p_tenant uuid, p_aggregate_type text, p_aggregate_id text, p_from integer, p_to integer, p_limit integer,
  p_max_bytes bigint
)
returns table (first_version integer, event_types text[], schema_versions integer[], payloads text[], complete boolean)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
-- as in read_stream
set enable_sort = off
as $$
declare
  chunk   constant integer := 128;
  largest constant bigint := least(p_max_bytes, 4194304) / chunk;
  first   bigint := p_from;
  wanted  integer;
  events  integer;
  left_   integer := p_limit;
  size    bigint;
  total   bigint := 0;
begin
  perform eventsourcing.bind_tenant(p_tenant);
  loop
    wanted := least(chunk, left_);
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
      where k.tenant_id = p_tenant and k.aggregate_type = p_aggregate_type and k.aggregate_id = p_aggregate_id
        and k.version between first and p_to
      order by k.version
      limit wanted
    ) e;
    exit when events = 0;
    complete := events < wanted;
    return next;
    total := total + size;
    exit when complete or events = left_ or total >= p_max_bytes;
    first := first_version + events;
    left_ := left_ - events;
  end loop;
end
$$;

comment on function eventsourcing.read_stream_contents is 'What is folded of a stream of the tenant, in chunks.';
