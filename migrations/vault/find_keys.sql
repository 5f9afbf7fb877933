-- Keys by their ids, in the given order; "destroyed" for those of before a fence, null for unknown ones.
create or replace function eventsourcing_vault.find_keys(p_tenant uuid, p_key_ids jsonb)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_agg(
    case
      when k.key_id is null then 'null'
      when k.fenced_by is not null or k.wrapped is null then '"destroyed"'
      else jsonb_build_object('keyId', k.key_id, 'kind', k.kind, 'name', k.name, 'version', k.version,
        'wrappedBy', k.wrapped_by, 'wrapped', encode(k.wrapped, 'hex'))
    end order by i.place), '[]')
  from jsonb_array_elements_text(p_key_ids) with ordinality i(key_id, place)
  left join eventsourcing_vault.data_keys k on k.tenant_id = p_tenant and k.key_id = i.key_id
$$;
comment on function eventsourcing_vault.find_keys is 'Keys of a tenant by their ids, in the given order.';
