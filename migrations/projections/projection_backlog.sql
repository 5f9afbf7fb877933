-- The remaining work of each projection over all tenants, as of the last announcement of their logs.
create or replace function eventsourcing.projection_backlog(p_projections text[], p_versions integer[])
returns table (projection text, version integer, pending double precision, oldest_millis double precision, parked integer)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
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

comment on function eventsourcing.projection_backlog is
  'Per projection, over all tenants: events to handle, the age of the oldest, and tenants for which it is parked.';
