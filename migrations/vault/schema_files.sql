-- Files that the migrator has applied. It applies a file again when its text changes.
create table if not exists eventsourcing_vault.schema_files (
  path       text collate "C" primary key,
  sha256     text not null,
  applied_at timestamptz not null default pg_catalog.now()
);
comment on table eventsourcing_vault.schema_files is 'Files of migrations/vault/ that PgKeyVault has applied, with the SHA-256 of their text.';
