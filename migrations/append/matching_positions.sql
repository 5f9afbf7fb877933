-- The positions of the first p_limit events of the tenant's log (the last ones if p_backwards) with p_from <= position <= p_to
-- that match a query. A query is an array of items {"aggregate_type": … or null, "types": […] or null, "tags": […]}. An event
-- matches an item if it has the aggregate type (null: any), one of the types (null: any) and all of the tags. It matches the
-- query if it matches any item. p_aggregate_types and p_event_types (NULL: all) are further conditions. An item may also have
-- an "aggregate_id" and a "correlation_id", which an event must have then.
--
-- For an item with tags the index of its rarest tag is read, for one without tags the blocks of the log that have its types, and
-- for one with ids the log.
create or replace function eventsourcing.matching_positions(
  p_tenant uuid, p_query jsonb, p_from bigint, p_to bigint, p_aggregate_types text[], p_event_types text[],
  p_backwards boolean, p_limit integer
)
returns bigint[]
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
-- as in load_streams
set enable_sort = off
as $$
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

comment on function eventsourcing.matching_positions is 'Positions of the first events of the tenant''s log that match a query.';
