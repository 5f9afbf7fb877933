-- Writes the types of each block of 1,024 positions whose last position lies between p_from and p_to and is stored. append and
-- write_events call it when a block is full: once per 1,024 events, because a row or an index entry per event would add half to the WAL of an
-- append. Called again, it only adds missing rows.
create or replace function eventsourcing.summarise_blocks(p_tenant uuid, p_from bigint, p_to bigint)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
-- by the index, as in load_streams
set enable_seqscan = off set enable_bitmapscan = off
as $$
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

comment on function eventsourcing.summarise_blocks is 'Writes the types of each full block of events that ends between two positions.';
