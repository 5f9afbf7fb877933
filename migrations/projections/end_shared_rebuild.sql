-- Removes the progress and the dead letters of a rebuild that all tenants share. Waits for workers on it. Returns false if there is
-- none. The caller empties the twins.
create or replace function eventsourcing.end_shared_rebuild(p_access uuid, p_projection text, p_version integer)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  -- locked, so that no other session begins or switches a rebuild meanwhile
  perform from eventsourcing.projection_versions v
  where v.projection = p_projection and v.version = p_version and v.rebuilding for update;
  if not found then
    return false;
  end if;
  perform from eventsourcing.projections p
  where p.projection = p_projection and p.version = p_version and p.rebuild order by p.tenant_id for update;
  delete from eventsourcing.projections p where p.projection = p_projection and p.version = p_version and p.rebuild;
  delete from eventsourcing.dead_letters d where d.projection = p_projection and d.version = p_version and d.rebuild;
  update eventsourcing.projection_versions v set rebuilding = false, held_until = null
  where v.projection = p_projection and v.version = p_version;
  return true;
end
$$;

comment on function eventsourcing.end_shared_rebuild is
  'Removes the progress of a rebuild of a read model that all tenants share.';
