-- Sets the legal hold of a tenant for a reason, or releases it (p_reason is NULL). Its actor is that of the access. Returns NULL, or
-- the reason why it has changed nothing.
create or replace function eventsourcing.hold_tenant(p_access uuid, p_tenant uuid, p_reason text)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.administer(p_access, p_tenant);
  update eventsourcing.tenants t
  set hold = case when p_reason is not null then jsonb_build_object(
    'actor', (select a.actor from eventsourcing.recorded_access(p_access) a), 'reason', p_reason,
    'heldAt', (extract(epoch from clock_timestamp()) * 1000)::bigint) end
  where t.tenant_id = p_tenant and t.status not in ('elsewhere', 'moved') and (t.status <> 'erased' or t.undertaking -> 'purging' is null);
  return case when not found then 'the tenant is not registered here, or some of its rows are erased' end;
end
$$;

comment on function eventsourcing.hold_tenant is 'Sets or releases the legal hold of a tenant.';
