-- Refuses (SQLSTATE ES004) an access that is not recorded.
create or replace function eventsourcing.require_cross_tenant_access(p_access uuid)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  if not exists (select from eventsourcing.cross_tenant_accesses a where a.access_id = p_access) then
    raise exception 'no recorded cross-tenant access %', p_access using errcode = 'ES004';
  end if;
end
$$;

comment on function eventsourcing.require_cross_tenant_access is 'Refuses a cross-tenant access that is not recorded.';
