-- Locks the live row, so that the live read model does not change. Returns its position.
create or replace function eventsourcing.lock_live_projection(p_tenant uuid, p_projection text, p_version integer)
returns double precision
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  insert into eventsourcing.projections (tenant_id, projection, version, rebuild)
  values (p_tenant, p_projection, p_version, false) on conflict do nothing;
  return (
    select p.position::double precision from eventsourcing.projections p
    where p.tenant_id = p_tenant and p.projection = p_projection and p.version = p_version and not p.rebuild
    for update);
end
$$;

comment on function eventsourcing.lock_live_projection is 'Stops changes to the live read model before a rebuild replaces it.';
