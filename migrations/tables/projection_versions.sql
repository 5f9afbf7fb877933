-- Projections: how far each one is with each tenant, what stopped it, and what was put aside.

create table if not exists eventsourcing.projection_versions (
  projection text collate "C" not null,
  version    integer not null,
  primary key (projection, version)
);
comment on table eventsourcing.projection_versions is
  'Projections that are run. Of the application, not of a tenant: names only.';
select eventsourcing.open_table('eventsourcing.projection_versions', 'runner_work', 'all', 'eventsourcing_runner_owner');
