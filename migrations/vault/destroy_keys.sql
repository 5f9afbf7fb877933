-- Destroys the keys that a forgetting has fenced.
create or replace function eventsourcing_vault.destroy_keys(p_tenant uuid, p_forgetting uuid)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform eventsourcing_vault.lock_tenant(p_tenant);
  update eventsourcing_vault.data_keys k set wrapped = null, wrapped_by = null
  where k.tenant_id = p_tenant and k.fenced_by = p_forgetting and k.wrapped is not null;
end
$$;
comment on function eventsourcing_vault.destroy_keys is 'Destroys the keys of a tenant that a forgetting has fenced.';
