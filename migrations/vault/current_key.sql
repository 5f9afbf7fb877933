-- The current key of a person, or of a tenant for a purpose, as JSON; "forgotten" for a fenced person, null if there is none.
create or replace function eventsourcing_vault.current_key(p_tenant uuid, p_kind text, p_name text)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when p_kind = 'subject' and exists (
      select from eventsourcing_vault.fences f
      where f.tenant_id = p_tenant and f.subject = p_name and f.allowed_again_at is null
    ) then '"forgotten"'::jsonb
    else coalesce((
      select case when k.fenced_by is null and k.wrapped is not null then jsonb_build_object(
        'keyId', k.key_id, 'kind', k.kind, 'name', k.name, 'version', k.version, 'wrappedBy', k.wrapped_by,
        'wrapped', encode(k.wrapped, 'hex')) end
      from eventsourcing_vault.data_keys k
      where k.tenant_id = p_tenant and k.kind = p_kind and k.name = p_name
      order by k.version desc
      limit 1
    ), 'null')
  end
$$;
comment on function eventsourcing_vault.current_key is 'The current key of a person, or of a tenant for a purpose.';
