-- True if a worker could claim other work than the given row, of any of the projections. The lock that finds it, so that work which
-- others do does not count, ends with the function.
create or replace function eventsourcing.other_work_waits(
  p_projections text[], p_versions integer[], p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean
)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
declare
  moment constant timestamptz := clock_timestamp();
begin
  perform from unnest(p_projections, p_versions) w (projection, version)
    join eventsourcing.projection_versions v
      on v.projection = w.projection and v.version = w.version and v.retired_at is null and not v.inline
    cross join lateral (
      -- as in claim_projection
      select from eventsourcing.projections p
      where p.projection = w.projection and p.version = w.version
        and (not p.parked or p.retry_at is not null) and (p.position < p.head or p.rebuild and not p.shared)
        and (p.rebuild or not coalesce(v.held_until between moment and moment + interval '10 seconds', false))
        and (not p.shared or p.twins = eventsourcing.twins_of(v.tables))
        and (p.retry_at is null or p.retry_at <= moment)
        and (p.tenant_id, p.projection, p.version, p.rebuild) <> (p_tenant, p_projection, p_version, p_rebuild)
      limit 1
      for update skip locked
    ) waiting
    limit 1;
  if found then
    raise exception using errcode = 'ES010';
  end if;
  return false;
exception
  when sqlstate 'ES010' then
    return true;
end
$$;

comment on function eventsourcing.other_work_waits is 'True if other work waits for a worker.';
