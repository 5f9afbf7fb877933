
create table if not exists eventsourcing.projection_versions (
  projection text collate "C" not null,
  version    integer not null,
  tables     text[] not null default '{}',
  retired_at timestamptz,
  cleared    boolean not null default false,
  inline     boolean not null default false,
  rebuilding boolean not null default false,
  held_until timestamptz,
  primary key (projection, version)
);
comment on table eventsourcing.projection_versions is
  'Registered projections. They belong to the application, not to a tenant, and are only names.';
comment on column eventsourcing.projection_versions.tables is
  'The read models that it fills, by their names without a schema. No other version may fill them.';
comment on column eventsourcing.projection_versions.retired_at is
  'Time from which it gets no work. The row is kept, because a retired version that was registered again would count every event twice.';
comment on column eventsourcing.projection_versions.cleared is 'True when the progress of a retired version has been removed.';
comment on column eventsourcing.projection_versions.inline is
  'True if it runs in the transactions of appends: runners do not work on it, and it has no progress.';
comment on column eventsourcing.projection_versions.rebuilding is
  'True during a rebuild of a read model that all tenants share.';
comment on column eventsourcing.projection_versions.held_until is
  'Time until which a live read model that all tenants share gets no work, so that its rebuild can catch up.';
select eventsourcing.open_table('eventsourcing.projection_versions', 'runner_work', 'all', 'eventsourcing_runner_owner');
select eventsourcing.open_table(
  'eventsourcing.projection_versions', 'administrator_reads', 'select', 'eventsourcing_administrator_owner');
