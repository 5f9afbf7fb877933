-- Begins a rebuild of a read model that all tenants share, from the start of each log. A rebuild in progress begins again if it
-- is parked, if its twins were replaced, or on request (p_restart). Returns true if a rebuild has begun, and NULL if the
-- projection is not registered. The caller empties the twins: no worker fills them before the transaction ends.
create or replace function eventsourcing.begin_shared_rebuild(
  p_access uuid, p_projection text, p_version integer, p_restart boolean
)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  known eventsourcing.projection_versions;
  filled text;
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  -- locked, so that only one session at a time begins or switches a rebuild, or retires the version
  select * into known from eventsourcing.projection_versions v
  where v.projection = p_projection and v.version = p_version and v.retired_at is null and not v.inline for update;
  if not found then
    return null;
  end if;
  filled := eventsourcing.twins_of(known.tables);
  if known.rebuilding and not p_restart and not exists (
    select from eventsourcing.projections p
    where p.projection = p_projection and p.version = p_version and p.rebuild
      and (p.parked or p.twins is distinct from filled)
  ) then
    return false;
  end if;
  -- waits for workers on the rebuild
  perform from eventsourcing.projections p
  where p.projection = p_projection and p.version = p_version and p.rebuild order by p.tenant_id for update;
  delete from eventsourcing.projections p where p.projection = p_projection and p.version = p_version and p.rebuild;
  delete from eventsourcing.dead_letters d where d.projection = p_projection and d.version = p_version and d.rebuild;
  insert into eventsourcing.projections (tenant_id, projection, version, rebuild, shared, twins, head)
  select t.tenant_id, p_projection, p_version, true, true, filled, log.head
  from eventsourcing.tenants t
  cross join lateral (
    select e.position as head from eventsourcing.events e where e.tenant_id = t.tenant_id
    order by e.position desc limit 1
  ) log
  order by 1;
  update eventsourcing.projection_versions v set rebuilding = true, held_until = null
  where v.projection = p_projection and v.version = p_version;
  return true;
end
$$;

comment on function eventsourcing.begin_shared_rebuild is
  'Begins a rebuild of a read model that all tenants share; returns true if it has begun.';
