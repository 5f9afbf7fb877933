create table if not exists eventsourcing.projection_failures (
  tenant_id  uuid not null,
  projection text collate "C" not null,
  version    integer not null,
  rebuild    boolean not null,
  position   bigint not null,
  kind       text not null,
  code       text,
  message    text not null,
  stack      text not null,
  times      integer not null,
  first_at   timestamptz not null,
  last_at    timestamptz not null,
  constraint projection_failures_pkey primary key (tenant_id, projection, version, rebuild, position)
);
comment on table eventsourcing.projection_failures is
  'Causes of failures of projections, for operators. Work for a tenant may write causes but not read them. Values of events are masked.';
comment on column eventsourcing.projection_failures.times is 'Number of times the event has failed.';
select eventsourcing.protect_tenant_table('eventsourcing.projection_failures');
select eventsourcing.open_table(
  'eventsourcing.projection_failures', 'all_tenants_read', 'select', 'eventsourcing_all_tenants_owner');
select eventsourcing.open_table('eventsourcing.projection_failures', 'runner_clears', 'all', 'eventsourcing_runner_owner');
