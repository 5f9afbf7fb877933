-- Adds data keys, each if the current key of its owner is the one that it follows. Returns the current keys of the owners, in the
-- given order; null for those whose wrapping key was removed meanwhile.
create or replace function eventsourcing_vault.add_keys(p_tenant uuid, p_keys jsonb)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  given   jsonb;
  current jsonb;
  answers jsonb := '[]';
begin
  perform eventsourcing_vault.lock_tenant(p_tenant);
  for given in select k.key from jsonb_array_elements(p_keys) with ordinality k(key, place) order by k.place loop
    current := eventsourcing_vault.current_key(p_tenant, given ->> 'kind', given ->> 'name');
    if (current = 'null' or current ->> 'keyId' = given ->> 'follows') and exists (
      select from eventsourcing_vault.wrapping_keys w where w.tenant_id = p_tenant and w.key_id = given ->> 'wrappedBy'
    ) then
      insert into eventsourcing_vault.data_keys (tenant_id, key_id, kind, name, version, wrapped_by, wrapped)
      select p_tenant, given ->> 'keyId', given ->> 'kind', given ->> 'name', coalesce(max(k.version), 0) + 1,
        given ->> 'wrappedBy', decode(given ->> 'wrapped', 'hex')
      from eventsourcing_vault.data_keys k
      where k.tenant_id = p_tenant and k.kind = given ->> 'kind' and k.name = given ->> 'name'
      on conflict (tenant_id, key_id) do nothing;
      current := eventsourcing_vault.current_key(p_tenant, given ->> 'kind', given ->> 'name');
    elsif current ->> 'keyId' = given ->> 'follows' then
      current := 'null';
    end if;
    answers := answers || jsonb_build_array(current);
  end loop;
  return answers;
end
$$;
comment on function eventsourcing_vault.add_keys is 'Adds data keys of a tenant, each if the one that it follows is current.';
