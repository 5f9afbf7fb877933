-- A migrated database without this row has no vault: a lost vault is an error, and no empty one takes its place by itself.
create table if not exists eventsourcing_vault.vault (
  only_one   boolean not null default true,
  root_check bytea not null,
  created_at timestamptz not null default pg_catalog.now(),
  constraint vault_pkey primary key (only_one),
  constraint vault_only_one check (only_one)
);
comment on table eventsourcing_vault.vault is 'The vault, once it is created.';
comment on column eventsourcing_vault.vault.root_check is 'A key that the root key has wrapped, by which the right root key is told.';
