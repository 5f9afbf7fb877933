-- Adds a wrapping key if the current one is still the one that it follows (NULL: none). Returns the current one.
create or replace function eventsourcing_vault.add_wrapping_key(
  p_tenant uuid, p_key_id text, p_wrapped bytea, p_follows text
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  last eventsourcing_vault.wrapping_keys;
begin
  perform eventsourcing_vault.lock_tenant(p_tenant);
  select * into last from eventsourcing_vault.wrapping_keys w where w.tenant_id = p_tenant order by w.number desc limit 1;
  if last.key_id is null or last.key_id = p_follows then
    insert into eventsourcing_vault.wrapping_keys (tenant_id, number, key_id, wrapped)
    values (p_tenant, coalesce(last.number, 0) + 1, p_key_id, p_wrapped)
    returning * into last;
  end if;
  return jsonb_build_object('keyId', last.key_id, 'wrapped', encode(last.wrapped, 'hex'));
end
$$;
comment on function eventsourcing_vault.add_wrapping_key is 'Adds a wrapping key of a tenant, if the one that it follows is current.';
