create table if not exists eventsourcing.discarded_dead_letters (
  tenant_id    uuid not null,
  projection   text collate "C" not null,
  version      integer not null,
  position     bigint not null,
  event_id     uuid not null,
  error        text not null,
  attempts     integer not null,
  failed_at    timestamptz not null,
  discarded_at timestamptz not null,
  reason       text not null check (reason <> ''),
  constraint discarded_dead_letters_pkey primary key (tenant_id, projection, version, position, discarded_at)
);
comment on table eventsourcing.discarded_dead_letters is 'Discarded dead letters, with the reason.';
select eventsourcing.protect_tenant_table('eventsourcing.discarded_dead_letters');
