-- Creates the vault, unless there is one. Returns its check of the root key.
create or replace function eventsourcing_vault.create_vault(p_check bytea)
returns bytea
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into eventsourcing_vault.vault (root_check) values (p_check) on conflict do nothing;
  return (select v.root_check from eventsourcing_vault.vault v);
end
$$;
comment on function eventsourcing_vault.create_vault is 'Creates the vault, unless there is one, and returns its check of the root key.';
