-- Checks if a rebuild of a read model that all tenants share may replace the live one. Returns 'none' if there is no rebuild,
-- 'waiting' if it may not replace it yet, 'anew' if its twins were replaced, so that the caller must empty them, and 'ready' if
-- it may. Then no worker gets work on the projection before the transaction ends.
--
-- The rebuild must contain all events of the live read model, for every tenant. When it is close, workers get no work on the live
-- one for at most 10 seconds, so that the rebuild catches up. Afterwards they get work for at least 20 seconds, even if the
-- rebuild has not replaced it.
create or replace function eventsourcing.prepare_shared_switch(p_access uuid, p_projection text, p_version integer)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  moment constant timestamptz := clock_timestamp();
  near   constant bigint := 1000;
  known  eventsourcing.projection_versions;
  filled text;
  lag    bigint;
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  if not exists (
    select from eventsourcing.projection_versions v
    where v.projection = p_projection and v.version = p_version and v.rebuilding and v.retired_at is null
  ) then
    return 'none';
  end if;
  select * into known from eventsourcing.projection_versions v
  where v.projection = p_projection and v.version = p_version for update skip locked;
  if not found then
    return 'waiting';
  elsif not known.rebuilding or known.retired_at is not null then
    return 'none';
  end if;
  filled := eventsourcing.twins_of(known.tables);
  if exists (
    select from eventsourcing.projections p
    where p.projection = p_projection and p.version = p_version and p.rebuild and p.twins is distinct from filled
  ) then
    perform eventsourcing.begin_shared_rebuild(p_access, p_projection, p_version, true);
    return 'anew';
  end if;
  -- tenants whose first event came later, and those without an announcement yet
  insert into eventsourcing.projections (tenant_id, projection, version, rebuild, shared, twins, head)
  select p.tenant_id, p_projection, p_version, true, true, filled, p.head
  from eventsourcing.projections p
  where p.projection = p_projection and p.version = p_version and not p.rebuild and p.head > 0
  order by 1
  on conflict do nothing;
  insert into eventsourcing.projections (tenant_id, projection, version, rebuild)
  select p.tenant_id, p_projection, p_version, false
  from eventsourcing.projections p
  where p.projection = p_projection and p.version = p_version and p.rebuild
  order by 1
  on conflict do nothing;
  lag := eventsourcing.shared_rebuild_lag(p_access, p_projection, p_version);
  if lag is null and known.held_until is not null then
    update eventsourcing.projection_versions v set held_until = null
    where v.projection = p_projection and v.version = p_version;
  elsif lag between 1 and near and (known.held_until is null
    or moment not between known.held_until - interval '10 seconds' and known.held_until + interval '20 seconds')
  then
    update eventsourcing.projection_versions v set held_until = moment + interval '10 seconds'
    where v.projection = p_projection and v.version = p_version;
  end if;
  if lag is distinct from 0 then
    return 'waiting';
  end if;
  perform from eventsourcing.projections p
  where p.projection = p_projection and p.version = p_version order by p.tenant_id, p.rebuild for update;
  if eventsourcing.shared_rebuild_lag(p_access, p_projection, p_version) is distinct from 0 then
    return 'waiting';
  end if;
  return 'ready';
end
$$;

comment on function eventsourcing.prepare_shared_switch is
  'Checks if a rebuild of a read model that all tenants share may replace the live one.';
