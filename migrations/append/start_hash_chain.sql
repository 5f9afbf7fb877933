-- Starts the hash chain of the tenant: every later event carries a hash. Does nothing if the chain has started. Waits for the
-- append that holds the tenant's lock. Returns the first position with a hash; NULL for an unknown tenant, and for one that is
-- importing, moving, moved or erased.
create or replace function eventsourcing.start_hash_chain(p_tenant uuid)
returns double precision
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
declare
  chained bigint;
begin
  perform eventsourcing.bind_tenant(p_tenant);
  chained := (select t.chained_from from eventsourcing.tenants t where t.tenant_id = p_tenant for no key update);
  if chained is null then
    -- a statement of its own, so that it sees the commit of the previous holder of the lock
    update eventsourcing.tenants t
    set chained_from = coalesce(
      (select e.position from eventsourcing.events e where e.tenant_id = p_tenant order by e.position desc limit 1), 0) + 1
    where t.tenant_id = p_tenant and t.chained_from is null and t.status in ('active', 'suspended')
    returning t.chained_from into chained;
  end if;
  return chained;
end
$$;

comment on function eventsourcing.start_hash_chain is 'Starts the hash chain of the tenant; returns its first position.';
