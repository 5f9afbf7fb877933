-- Records keys as destroyed of which only the ids are known, under no owner. Those that the tenant has stay as they are.
create or replace function eventsourcing_vault.add_destroyed_keys(p_tenant uuid, p_key_ids jsonb)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform eventsourcing_vault.lock_tenant(p_tenant);
  insert into eventsourcing_vault.data_keys (tenant_id, key_id, kind, name, version)
  select p_tenant, i.key_id, 'subject', '', row_number() over () + (
    select coalesce(max(k.version), 0) from eventsourcing_vault.data_keys k
    where k.tenant_id = p_tenant and k.kind = 'subject' and k.name = '')
  from (select distinct g.key_id from jsonb_array_elements_text(p_key_ids) g(key_id)) i
  on conflict (tenant_id, key_id) do nothing;
end
$$;
comment on function eventsourcing_vault.add_destroyed_keys is 'Records keys of a tenant as destroyed, of which only the ids are known.';
