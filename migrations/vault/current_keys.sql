-- The current keys of several owners, in the given order. See current_key.
create or replace function eventsourcing_vault.current_keys(p_tenant uuid, p_owners jsonb)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_agg(
    eventsourcing_vault.current_key(p_tenant, o.owner ->> 'kind', o.owner ->> 'name') order by o.place), '[]')
  from jsonb_array_elements(p_owners) with ordinality o(owner, place)
$$;
comment on function eventsourcing_vault.current_keys is 'The current keys of several owners, in the given order.';
