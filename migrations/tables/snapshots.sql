-- Snapshots are stored states of aggregates, so that not all of their events need to be folded. They can be removed at any time.

create table if not exists eventsourcing.snapshots (
  tenant_id      uuid not null,
  aggregate_type text collate "C" not null,
  aggregate_id   text collate "C" not null,
  version        integer not null check (version > 0),
  position       bigint not null check (position > 0),
  event_id       uuid not null,
  recorded_at    timestamptz not null,
  state_version  integer not null,
  fingerprint    text not null,
  checksum       text not null,
  state          text not null,
  taken_at       timestamptz not null,
  constraint snapshots_pkey primary key (tenant_id, aggregate_type, aggregate_id)
);
comment on table eventsourcing.snapshots is
  'The newest snapshot of each stream. Readers check it, and fold all events if it is unusable.';
comment on column eventsourcing.snapshots.version is 'Version of the last event in the state.';
comment on column eventsourcing.snapshots.position is 'Position of that event; event_id and recorded_at belong to the same event.';
comment on column eventsourcing.snapshots.state_version is 'The stateVersion of the aggregate.';
comment on column eventsourcing.snapshots.fingerprint is 'Fingerprint of the declarations that the state depends on.';
comment on column eventsourcing.snapshots.checksum is 'SHA-256 of the key, the other columns and the state.';
comment on column eventsourcing.snapshots.state is 'JSON text exactly as it was written.';
select eventsourcing.protect_tenant_table('eventsourcing.snapshots');
