-- Removes the progress and the dead letters of a rebuild for the tenant. Waits for a worker on it. Returns false if there is none,
-- or if all tenants share it. The caller empties the twins.
create or replace function eventsourcing.cancel_rebuild(p_tenant uuid, p_projection text, p_version integer)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  delete from eventsourcing.projections p
  where p.tenant_id = p_tenant and p.projection = p_projection and p.version = p_version and p.rebuild and not p.shared;
  if not found then
    return false;
  end if;
  delete from eventsourcing.dead_letters d
  where d.tenant_id = p_tenant and d.projection = p_projection and d.version = p_version and d.rebuild;
  return true;
end
$$;

comment on function eventsourcing.cancel_rebuild is 'Cancels a rebuild of a projection for the tenant.';
