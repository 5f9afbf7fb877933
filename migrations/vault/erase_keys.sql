-- Destroys all keys of a tenant. Its fences stay.
create or replace function eventsourcing_vault.erase_keys(p_tenant uuid)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform eventsourcing_vault.lock_tenant(p_tenant);
  update eventsourcing_vault.data_keys k set wrapped = null, wrapped_by = null
  where k.tenant_id = p_tenant and k.wrapped is not null;
  delete from eventsourcing_vault.wrapping_keys w where w.tenant_id = p_tenant;
end
$$;
comment on function eventsourcing_vault.erase_keys is 'Destroys all keys of a tenant. Its fences stay.';
