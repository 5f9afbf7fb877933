create table if not exists eventsourcing.command_keys (
  tenant_id      uuid not null,
  key            text collate "C" not null,
  fingerprint    text not null,
  aggregate_type text not null,
  aggregate_id   text not null,
  version        integer not null,
  position       bigint not null,
  events         integer not null,
  recorded_at    timestamptz not null,
  expires_at     timestamptz not null,
  constraint command_keys_pkey primary key (tenant_id, key)
);

-- Not "if not exists", which locks the table even if the index exists.
do $$
begin
  if pg_catalog.to_regclass('eventsourcing.command_keys_expiry') is null then
    create index command_keys_expiry on eventsourcing.command_keys (tenant_id, expires_at);
  end if;
end
$$;
comment on table eventsourcing.command_keys is
  'Commands that were run under a key, with their outcomes: the version of the stream and the last position of the log afterwards, and the number of events.';
comment on column eventsourcing.command_keys.fingerprint is 'Hash of the command, to refuse another command with the same key.';
comment on column eventsourcing.command_keys.expires_at is 'After this time the key counts as unused.';
select eventsourcing.protect_tenant_table('eventsourcing.command_keys');
-- For remove_expired_keys, which removes expired keys of tenants that append nothing.
select eventsourcing.open_table('eventsourcing.command_keys', 'runner_work', 'all', 'eventsourcing_runner_owner');
