-- Sets the quota of a tenant (limits, or a plan) between two of its appends, or removes it (p_quota is NULL). Returns NULL, or the
-- reason why it has changed nothing.
create or replace function eventsourcing.set_quota(p_access uuid, p_tenant uuid, p_quota jsonb)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  known text;
begin
  perform eventsourcing.administer(p_access, p_tenant);
  select t.status into known from eventsourcing.tenants t where t.tenant_id = p_tenant for no key update;
  if known is null then
    return 'the tenant is not registered here: provision it first';
  elsif known not in ('active', 'suspended', 'importing') then
    return format('the tenant is %s: the quota of an active, suspended or importing tenant can be set', known);
  elsif p_quota ? 'plan' and not exists (select from eventsourcing.plans p where p.name = p_quota ->> 'plan') then
    return format('the plan "%s" is not defined here: define it first', p_quota ->> 'plan');
  end if;
  update eventsourcing.tenants t set quota = p_quota where t.tenant_id = p_tenant;
  return null;
end
$$;

comment on function eventsourcing.set_quota is 'Sets the quota of a tenant between two of its appends.';
