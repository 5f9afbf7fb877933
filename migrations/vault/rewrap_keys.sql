-- Replaces the wrapped form of data keys that are not destroyed, if their new wrapping key is the current one: an older one may have been
-- removed, and they would be lost with it.
create or replace function eventsourcing_vault.rewrap_keys(p_tenant uuid, p_keys jsonb)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform eventsourcing_vault.lock_tenant(p_tenant);
  update eventsourcing_vault.data_keys k
  set wrapped = decode(g.key ->> 'wrapped', 'hex'), wrapped_by = g.key ->> 'wrappedBy'
  from jsonb_array_elements(p_keys) g(key)
  where k.tenant_id = p_tenant and k.key_id = g.key ->> 'keyId' and k.wrapped is not null
    and g.key ->> 'wrappedBy' = (
      select w.key_id from eventsourcing_vault.wrapping_keys w where w.tenant_id = p_tenant order by w.number desc limit 1
    );
end
$$;
comment on function eventsourcing_vault.rewrap_keys is 'Replaces the wrapped form of data keys of a tenant that are not destroyed.';
