-- The dead letters of each projection over all tenants, at most 10,000 of each, and the age of the oldest.
create or replace function eventsourcing.projection_dead_letters(p_projections text[], p_versions integer[])
returns table (projection text, version integer, dead_letters integer, oldest_millis double precision)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
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

comment on function eventsourcing.projection_dead_letters is
  'Per projection, over all tenants: the number of dead letters (at most 10,000) and the age of the oldest.';
