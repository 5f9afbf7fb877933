-- Refuses (SQLSTATE ES004) an access that is not recorded, or that another login recorded: the trail shows all ids, and nobody
-- may read under another's name.
create or replace function eventsourcing.require_cross_tenant_access(p_access uuid)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  if not exists (
    select from eventsourcing.cross_tenant_accesses a where a.access_id = p_access and a.login = session_user::text
  ) then
    raise exception 'no recorded cross-tenant access % of this login', p_access using errcode = 'ES004';
  end if;
end
$$;

comment on function eventsourcing.require_cross_tenant_access is 'Refuses a cross-tenant access that this login has not recorded.';
