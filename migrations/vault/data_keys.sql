-- Autovacuum comes soon after a change, because the former version of a row has the key that was destroyed.
create table if not exists eventsourcing_vault.data_keys (
  tenant_id  uuid not null,
  key_id     text collate "C" not null,
  kind       text collate "C" not null,
  name       text collate "C" not null,
  version    integer not null,
  wrapped_by text collate "C",
  wrapped    bytea,
  fenced_by  uuid,
  constraint data_keys_pkey primary key (tenant_id, key_id),
  constraint data_keys_version unique (tenant_id, kind, name, version),
  constraint data_keys_kind check (kind in ('subject', 'tenant')),
  constraint data_keys_destroyed check ((wrapped is null) = (wrapped_by is null))
) with (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0);
comment on table eventsourcing_vault.data_keys is 'Keys of persons, and of tenants for one purpose each, wrapped by a key of the tenant.';
comment on column eventsourcing_vault.data_keys.name is 'The id of the person, or the purpose.';
comment on column eventsourcing_vault.data_keys.wrapped is 'NULL if the key is destroyed.';
comment on column eventsourcing_vault.data_keys.fenced_by is 'The forgetting from which on the key is not handed out any more.';
