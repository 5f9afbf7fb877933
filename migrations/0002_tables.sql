-- Tables. tenant_id is the first column of every key: nothing is shared between tenants, and the schema can be
-- distributed by tenant_id.

create table if not exists eventsourcing.tenants (
  tenant_id  uuid primary key,
  status     text not null default 'active' check (status in ('active', 'suspended')),
  created_at timestamptz not null default pg_catalog.date_trunc('milliseconds', pg_catalog.clock_timestamp()),
  lockable   boolean not null default true,
  chained_from bigint
);
alter table eventsourcing.tenants add column if not exists chained_from bigint;
comment on table eventsourcing.tenants is 'Every tenant that has a log. Appends lock the row of their tenant, so the row orders them.';
comment on column eventsourcing.tenants.lockable is
  'Never read or written. PostgreSQL lets a role lock a row only if it may update some column of it: this one is for that.';

comment on column eventsourcing.tenants.chained_from is 'The first position of its log that carries a hash; NULL: none does.';

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
  constraint events_pkey primary key (tenant_id, position),
  constraint events_stream_key unique (tenant_id, aggregate_type, aggregate_id, version),
  constraint events_event_id_key unique (tenant_id, event_id)
);
alter table eventsourcing.events add column if not exists tags text[], add column if not exists hash bytea;
-- No foreign key to tenants: an append holds the lock on the tenant's row, which says more than a foreign key would,
-- and a foreign key would cost a query per event.
comment on table eventsourcing.events is 'Append-only. position is 1..n without gaps per tenant, version 1..n per stream.';
comment on column eventsourcing.events.recorded_at is 'Milliseconds; never goes back within a tenant, whatever the clock does.';
comment on column eventsourcing.events.payload is
  'json, not jsonb: the text comes back exactly as it was written (key order, numbers).';
comment on column eventsourcing.events.bytes is 'UTF-8 bytes of payload and metadata, for page sizes and billing.';
comment on column eventsourcing.events.tags is 'What the event is about, sorted, each once; NULL: nothing.';
comment on column eventsourcing.events.hash is
  'SHA-256 over the event and the hash before it, see event_hash; NULL where the log carries none.';

create table if not exists eventsourcing.event_tags (
  tenant_id  uuid not null,
  tag        text collate "C" not null,
  position   bigint not null,
  event_type text collate "C" not null,
  constraint event_tags_pkey primary key (tenant_id, tag, position)
);
comment on table eventsourcing.event_tags is 'Where the events with a tag are. Written with the event, and never changed.';

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
create index if not exists command_keys_expiry on eventsourcing.command_keys (tenant_id, expires_at);
comment on table eventsourcing.command_keys is
  'Commands that were carried out under a key, and their outcomes: the stream''s version and the log''s head afterwards, and how many events there were.';
comment on column eventsourcing.command_keys.fingerprint is 'Tells the command from others.';
comment on column eventsourcing.command_keys.expires_at is 'From then on the key is as one that was never used.';

create table if not exists eventsourcing.cross_tenant_accesses (
  access_id   uuid primary key,
  accessed_at timestamptz not null default pg_catalog.clock_timestamp(),
  actor       text not null check (actor <> ''),
  reason      text not null check (reason <> ''),
  operation   text not null
);
comment on table eventsourcing.cross_tenant_accesses is 'Audit trail: who looked across tenants, why, and at what.';

-- jit is off in all functions: a planner that takes an array for a thousand rows would have their statements compiled,
-- which takes a tenth of a second, each time.

-- Binds a table with a tenant_id column to the current tenant. Run it again to repair the policies of a table.
-- The restrictive policy holds even if somebody adds a permissive one.
create or replace function eventsourcing.protect_tenant_table(target regclass)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  if not exists (
    select from pg_attribute
    where attrelid = target and attname = 'tenant_id' and atttypid = 'uuid'::regtype and attnotnull and not attisdropped
  ) then
    raise exception 'table % has no column "tenant_id uuid not null"', target
      using hint = 'add the column, then call eventsourcing.protect_tenant_table again';
  end if;
  execute format('alter table %s enable row level security', target);
  execute format('alter table %s force row level security', target);
  execute format('drop policy if exists tenant_access on %s', target);
  execute format('drop policy if exists tenant_isolation on %s', target);
  execute format($policy$
    create policy tenant_access on %s as permissive for all to eventsourcing_tenant
      using (tenant_id = nullif(current_setting('eventsourcing.tenant_id', true), '')::uuid)
      with check (tenant_id = nullif(current_setting('eventsourcing.tenant_id', true), '')::uuid)
    $policy$, target);
  execute format($policy$
    create policy tenant_isolation on %s as restrictive for all to eventsourcing_tenant
      using (tenant_id = nullif(current_setting('eventsourcing.tenant_id', true), '')::uuid)
      with check (tenant_id = nullif(current_setting('eventsourcing.tenant_id', true), '')::uuid)
    $policy$, target);
end
$$;
comment on function eventsourcing.protect_tenant_table(regclass) is
  'Creates or repairs the row-level security of a table with a tenant_id column.';
revoke all on function eventsourcing.protect_tenant_table(regclass) from public;

select eventsourcing.protect_tenant_table('eventsourcing.tenants');
select eventsourcing.protect_tenant_table('eventsourcing.events');
select eventsourcing.protect_tenant_table('eventsourcing.event_tags');
select eventsourcing.protect_tenant_table('eventsourcing.command_keys');
alter table eventsourcing.cross_tenant_accesses enable row level security;
alter table eventsourcing.cross_tenant_accesses force row level security;

drop policy if exists all_tenants_read on eventsourcing.tenants;
create policy all_tenants_read on eventsourcing.tenants for select to eventsourcing_all_tenants using (true);
drop policy if exists all_tenants_status on eventsourcing.tenants;
create policy all_tenants_status on eventsourcing.tenants for update to eventsourcing_all_tenants using (true);
drop policy if exists all_tenants_read on eventsourcing.events;
create policy all_tenants_read on eventsourcing.events for select to eventsourcing_all_tenants using (true);
drop policy if exists all_tenants_audit on eventsourcing.cross_tenant_accesses;
create policy all_tenants_audit on eventsourcing.cross_tenant_accesses for all to eventsourcing_all_tenants
  using (true) with check (true);

-- Append-only by grant: nobody but the owner may change or remove an event.
revoke all on eventsourcing.tenants, eventsourcing.events, eventsourcing.event_tags, eventsourcing.command_keys,
  eventsourcing.cross_tenant_accesses
  from public, eventsourcing_tenant, eventsourcing_all_tenants;
grant select, insert (tenant_id), update (lockable, chained_from) on eventsourcing.tenants to eventsourcing_tenant;
grant select, insert on eventsourcing.events, eventsourcing.event_tags to eventsourcing_tenant;
grant select, insert, update, delete on eventsourcing.command_keys to eventsourcing_tenant;
grant select, update (status) on eventsourcing.tenants to eventsourcing_all_tenants;
grant select on eventsourcing.events to eventsourcing_all_tenants;
grant select, insert on eventsourcing.cross_tenant_accesses to eventsourcing_all_tenants;
