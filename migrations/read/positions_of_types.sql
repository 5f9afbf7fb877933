-- The positions of the first p_limit events (the last ones if p_backwards) with p_from <= position <= p_to, of the given event and
-- aggregate types (NULL: all). Skips the blocks that have none of them, and reads those that have no row in event_blocks, such as
-- the last one.
create or replace function eventsourcing.positions_of_types(
  p_tenant uuid, p_event_types text[], p_aggregate_types text[], p_from bigint, p_to bigint, p_backwards boolean,
  p_limit integer
)
returns bigint[]
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
-- as in load_streams
set enable_sort = off set enable_seqscan = off set enable_bitmapscan = off
as $$
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

comment on function eventsourcing.positions_of_types is 'Positions of the first events of some types in the tenant''s log.';
