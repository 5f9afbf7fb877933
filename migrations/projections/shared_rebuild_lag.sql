-- Number of events that are in the live read model that all tenants share, but not in its rebuild; NULL if the rebuild is parked
-- for a tenant.
create or replace function eventsourcing.shared_rebuild_lag(p_access uuid, p_projection text, p_version integer)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  return (
    select case when coalesce(bool_or(r.parked), false) then null
      else coalesce(sum(greatest(l.position - coalesce(r.position, 0), 0)), 0) end
    from (
      select p.tenant_id, p.position from eventsourcing.projections p
      where p.projection = p_projection and p.version = p_version and not p.rebuild
    ) l
    full join (
      select p.tenant_id, p.position, p.parked from eventsourcing.projections p
      where p.projection = p_projection and p.version = p_version and p.rebuild
    ) r on r.tenant_id = l.tenant_id)::bigint;
end
$$;

comment on function eventsourcing.shared_rebuild_lag is
  'Number of events that are in a live read model that all tenants share, but not in its rebuild; NULL if that is parked.';
