create table if not exists eventsourcing.plans (
  name   text collate "C" primary key check (name <> ''),
  limits jsonb not null
);
comment on table eventsourcing.plans is
  'Named limits that the quotas of tenants follow. They belong to the application, not to a tenant.';
comment on column eventsourcing.plans.limits is
  'events: of a log; rate: events in any window of windowMillis; eventBytes: of payload and metadata of an event. An absent limit does not apply.';
select eventsourcing.open_table('eventsourcing.plans', 'anyone_reads', 'select', 'public');
select eventsourcing.open_table('eventsourcing.plans', 'administrator_defines', 'all', 'eventsourcing_administrator_owner');
