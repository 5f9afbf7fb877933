-- Refuses the bound tenant (SQLSTATE ES011 importing, ES012 moved, ES013 erased) if its status hides it from all work. Only the
-- administration of the tenant, under a recorded access, sees it. Runs with the caller's rights and search path, as bind_tenant.
create or replace function eventsourcing.require_visible(p_tenant uuid)
returns void
language plpgsql
as $$
declare
  -- the index has only such tenants, and most often no row
  hidden pg_catalog.text := (
    select t.status from eventsourcing.tenants t
    where t.tenant_id operator(pg_catalog.=) p_tenant
      and (t.status operator(pg_catalog.=) 'importing' or t.status operator(pg_catalog.=) 'moved'
        or t.status operator(pg_catalog.=) 'erased'));
begin
  if hidden is not null and not eventsourcing.is_administered() then
    raise exception 'the tenant is %', hidden using errcode =
      case when hidden operator(pg_catalog.=) 'importing' then 'ES011'
        when hidden operator(pg_catalog.=) 'moved' then 'ES012' else 'ES013' end;
  end if;
end
$$;

comment on function eventsourcing.require_visible(uuid) is 'Refuses the bound tenant if its status hides it from all work.';
