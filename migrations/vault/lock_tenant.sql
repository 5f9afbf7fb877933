-- Locks the keys and fences of a tenant until the end of the transaction.
create or replace function eventsourcing_vault.lock_tenant(p_tenant uuid)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into eventsourcing_vault.tenants (tenant_id) values (p_tenant) on conflict do nothing;
  perform from eventsourcing_vault.tenants t where t.tenant_id = p_tenant for no key update;
end
$$;
comment on function eventsourcing_vault.lock_tenant is 'Locks the keys and fences of a tenant until the end of the transaction.';
