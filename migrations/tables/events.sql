create table if not exists eventsourcing.events (
  tenant_id      uuid not null,
  position       bigint not null check (position > 0),
  aggregate_type text collate "C" not null,
  aggregate_id   text collate "C" not null,
  version        integer not null check (version > 0),
  event_id       uuid not null,
  event_type     text collate "C" not null,
  schema_version integer not null,
  occurred_at    timestamptz not null,
  recorded_at    timestamptz not null,
  actor          text,
  correlation_id text not null,
  causation_id   text,
  metadata       json not null,
  payload        json not null,
  bytes          integer not null,
  tags           text[],
  hash           bytea,
  traceparent    text,
  constraint events_pkey primary key (tenant_id, position),
  constraint events_stream_key unique (tenant_id, aggregate_type, aggregate_id, version),
  constraint events_event_id_key unique (tenant_id, event_id)
);

-- No foreign key to tenants: it would cost a query per event, and an append holds the lock on the tenant's row anyway.
comment on table eventsourcing.events is 'Append-only. position is 1..n without gaps per tenant, version 1..n per stream.';
comment on column eventsourcing.events.recorded_at is 'In milliseconds. Never decreases within a tenant, even if the clock goes back.';
comment on column eventsourcing.events.payload is
  'json instead of jsonb, so that the text is read exactly as it was written (key order, numbers).';
comment on column eventsourcing.events.bytes is 'UTF-8 bytes of payload and metadata, for page sizes and billing.';
comment on column eventsourcing.events.tags is 'Tags, sorted and without duplicates; NULL for none.';
comment on column eventsourcing.events.hash is
  'SHA-256 of the event and the hash of its predecessor, see event_hash; NULL without a hash chain.';
comment on column eventsourcing.events.traceparent is
  'The trace in which the event was appended, as a W3C traceparent; NULL for none. Not covered by the hash, because it is not part of the content.';
select eventsourcing.protect_tenant_table('eventsourcing.events');
select eventsourcing.open_table('eventsourcing.events', 'all_tenants_read', 'select', 'eventsourcing_all_tenants_owner');
select eventsourcing.open_table('eventsourcing.events', 'runner_heads', 'select', 'eventsourcing_runner_owner');
