-- Removes the wrapping keys of a tenant that wrap no key in use, except the current one.
create or replace function eventsourcing_vault.drop_wrapping_keys(p_tenant uuid)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform eventsourcing_vault.lock_tenant(p_tenant);
  delete from eventsourcing_vault.wrapping_keys w
  where w.tenant_id = p_tenant
    and w.number < (select max(c.number) from eventsourcing_vault.wrapping_keys c where c.tenant_id = p_tenant)
    and not exists (
      select from eventsourcing_vault.data_keys k
      where k.tenant_id = p_tenant and k.wrapped_by = w.key_id and k.fenced_by is null
    );
end
$$;
comment on function eventsourcing_vault.drop_wrapping_keys is 'Removes the wrapping keys of a tenant that wrap no key in use, except the current one.';
