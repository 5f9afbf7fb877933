create table if not exists eventsourcing_vault.wrapping_keys (
  tenant_id uuid not null,
  number    integer not null,
  key_id    text collate "C" not null,
  wrapped   bytea not null,
  constraint wrapping_keys_pkey primary key (tenant_id, number)
);
comment on table eventsourcing_vault.wrapping_keys is 'Keys of tenants that wrap data keys, wrapped by the root key. The one with the highest number is current.';
