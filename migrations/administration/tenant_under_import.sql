-- Locks the row of a tenant for a write of its import. Returns NULL, or the reason why the import with this token must not write.
create or replace function eventsourcing.tenant_under_import(p_access uuid, p_tenant uuid, p_token uuid)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
declare
  known record;
begin
  perform eventsourcing.administer(p_access, p_tenant);
  select t.status, t.undertaking into known from eventsourcing.tenants t where t.tenant_id = p_tenant for no key update;
  return case
    when known.status is null then 'the tenant is not registered: begin the import'
    when known.status <> 'importing' then format('the tenant is %s: only an import writes its content', known.status)
    when known.undertaking ->> 'token' <> p_token::text then 'another import writes the tenant: end or purge that one first'
  end;
end
$$;

comment on function eventsourcing.tenant_under_import is 'Locks a tenant for its import, and checks the token.';
