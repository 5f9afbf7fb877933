-- Confirms remembered states: for each of several streams, in one statement, because a statement costs more than a look-up.
--
-- The n-th result is true if the stream has the event p_event_ids[n] with p_versions[n], and no event after it, and if the tenant's
-- number of forgotten subjects is p_forgotten[n] (NULL: not compared; empty array: by no stream).
--
-- Each tenant is bound when the loop reaches its stream, so that row-level security shows only the events of that tenant.
create or replace function eventsourcing.streams_end_with(
  p_tenants text[], p_aggregate_types text[], p_aggregate_ids text[], p_versions integer[], p_event_ids uuid[],
  p_forgotten integer[])
returns boolean[]
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
-- in the order of the index, even if the planner prefers sorting, so that only the last event is read
set enable_sort = off
as $$
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

comment on function eventsourcing.streams_end_with is 'For each of several streams: true if the given event is its last one.';
