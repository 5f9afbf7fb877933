-- At most p_limit streams of the tenant, of one aggregate type (NULL: of all), after (p_after_type, p_after_id), ordered by type
-- and id. Each stream costs two look-ups in the index of streams, independent of the number of its events.
create or replace function eventsourcing.list_streams(
  p_tenant uuid, p_aggregate_type text, p_after_type text, p_after_id text, p_limit integer
)
returns table (aggregate_type text, aggregate_id text, version integer)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_sort = off set enable_bitmapscan = off
as $$
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

comment on function eventsourcing.list_streams is 'A page of the tenant''s streams, with their versions.';
