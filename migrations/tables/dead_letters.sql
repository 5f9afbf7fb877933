create table if not exists eventsourcing.dead_letters (
  tenant_id  uuid not null,
  projection text collate "C" not null,
  version    integer not null,
  rebuild    boolean not null,
  position   bigint not null,
  event_id   uuid not null,
  error      text not null,
  attempts   integer not null,
  failed_at  timestamptz not null,
  constraint dead_letters_pkey primary key (tenant_id, projection, version, rebuild, position)
);
comment on table eventsourcing.dead_letters is
  'Events that a projection gave up on and skipped. The events themselves are in the log.';
comment on column eventsourcing.dead_letters.rebuild is
  'True if a rebuild gave up on it. It becomes visible when the rebuild replaces the live read model.';
-- Not "if not exists", which locks the table even if the index exists.
do $$
begin
  if pg_catalog.to_regclass('eventsourcing.dead_letters_age') is null then
    create index dead_letters_age on eventsourcing.dead_letters (projection, version, failed_at) where not rebuild;
  end if;
end
$$;
select eventsourcing.protect_tenant_table('eventsourcing.dead_letters');
select eventsourcing.open_table('eventsourcing.dead_letters', 'runner_switches', 'all', 'eventsourcing_runner_owner');
select eventsourcing.open_table('eventsourcing.dead_letters', 'all_tenants_count', 'select', 'eventsourcing_all_tenants_owner');
