-- Projections: how far each one is with each tenant, what stopped it, and what was put aside.

create table if not exists eventsourcing.projection_versions (
  projection text collate "C" not null,
  version    integer not null,
  tables     text[] not null default '{}',
  retired_at timestamptz,
  cleared    boolean not null default false,
  primary key (projection, version)
);
comment on table eventsourcing.projection_versions is
  'Projections that are run. Of the application, not of a tenant: names only.';
comment on column eventsourcing.projection_versions.tables is
  'The read models that it fills, by their names without a schema: no other version may fill them as well.';
comment on column eventsourcing.projection_versions.retired_at is
  'From then on it has no work. The row stays: registered again, it would count every event twice.';
comment on column eventsourcing.projection_versions.cleared is 'Whether the progress of a retired version is gone.';
select eventsourcing.open_table('eventsourcing.projection_versions', 'runner_work', 'all', 'eventsourcing_runner_owner');
