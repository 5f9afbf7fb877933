create table if not exists eventsourcing.projections (
  tenant_id       uuid not null,
  projection      text collate "C" not null,
  version         integer not null,
  rebuild         boolean not null,
  position        bigint not null default 0,
  head            bigint not null default 0,
  parked          boolean not null default false,
  attempts        integer not null default 0,
  failed_position bigint,
  error           text,
  failure_kind    text,
  waited_ms       double precision not null default 0,
  retry_at        timestamptz,
  served_at       timestamptz not null default '1970-01-01T00:00:00Z',
  shared          boolean not null default false,
  twins           text,
  rebuilt         integer not null default 0,
  constraint projections_pkey primary key (tenant_id, projection, version, rebuild)
);
comment on table eventsourcing.projections is
  'Progress of each projection for each tenant. A worker locks the row while it works on it.';
comment on column eventsourcing.projections.rebuild is 'True for the progress of a rebuild beside the live read model.';
comment on column eventsourcing.projections.position is 'The last position that is in the read model.';
comment on column eventsourcing.projections.head is 'A position that the log has reached: a hint that there is work.';
comment on column eventsourcing.projections.parked is
  'True if a failure has stopped it until somebody resumes it, or until retry_at if that is set.';
comment on column eventsourcing.projections.error is 'Summary of the last failure, without any payload.';
comment on column eventsourcing.projections.retry_at is
  'Time of the next attempt. It is made at once if served_at is in the future, because the clock has gone back then.';
comment on column eventsourcing.projections.served_at is 'The last time that a worker recorded progress or a failure.';
comment on column eventsourcing.projections.failure_kind is
  'handler: the event or its handler is to blame. storage: the database failed. schema: the schema does not fit the handler.';
comment on column eventsourcing.projections.waited_ms is
  'Time for which the failed event has waited for the database, in milliseconds. A sum of durations, so that changes of the clock do not matter.';

comment on column eventsourcing.projections.shared is
  'True for a rebuild of a read model that all tenants share. At the head of the log it waits for the other tenants.';
comment on column eventsourcing.projections.twins is
  'The twins that the rebuild fills (twins_of). If they have been made anew since, its rows are gone, and it starts over.';
comment on column eventsourcing.projections.rebuilt is 'Number of rebuilds that have replaced the live read model.';

-- This index contains only rows with work, so that idle tenants cost nothing. A rebuild has work until it replaces the live
-- read model. A parked row with a retry_at is tried again by itself.
-- Not "if not exists", which locks the table even if the index exists.
do $$
begin
  if pg_catalog.to_regclass('eventsourcing.projections_due') is null then
    create index projections_due on eventsourcing.projections (projection, version, served_at)
  where (not parked or retry_at is not null) and (position < head or rebuild and not shared);
  end if;
  if pg_catalog.to_regclass('eventsourcing.projections_parked') is null then
    create index projections_parked on eventsourcing.projections (projection, version) where parked;
  end if;
end
$$;
select eventsourcing.protect_tenant_table('eventsourcing.projections');

-- The runner sees the tenants with events that a projection has not handled, and only the positions of events.
select eventsourcing.open_table('eventsourcing.projections', 'runner_work', 'all', 'eventsourcing_runner_owner');
select eventsourcing.open_table('eventsourcing.projections', 'all_tenants_read', 'select', 'eventsourcing_all_tenants_owner');
select eventsourcing.open_table('eventsourcing.projections', 'all_tenants_resume', 'update', 'eventsourcing_all_tenants_owner');
