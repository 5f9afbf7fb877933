-- The rights of eventsourcing_vault: all functions run with the rights of their caller, and it may do nothing that they do not. It is
-- applied last, every time.

revoke all on all tables in schema eventsourcing_vault from public, eventsourcing_vault;
revoke all on all functions in schema eventsourcing_vault from public, eventsourcing_vault;

grant execute on all functions in schema eventsourcing_vault to eventsourcing_vault;
grant select, insert on eventsourcing_vault.vault to eventsourcing_vault;
-- the right to lock a row
grant select, insert, update on eventsourcing_vault.tenants to eventsourcing_vault;
grant select, insert, delete on eventsourcing_vault.wrapping_keys to eventsourcing_vault;
grant select, insert, update (wrapped, wrapped_by, fenced_by) on eventsourcing_vault.data_keys to eventsourcing_vault;
grant select, insert, update (allowed_again_at) on eventsourcing_vault.fences to eventsourcing_vault;
