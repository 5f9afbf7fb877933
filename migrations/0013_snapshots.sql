-- Snapshots: states of aggregates, so that not all of their events need to be folded. They can be removed at any time.

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
  'The newest snapshot of a stream. Whoever reads one checks it, and folds the events if it is of no use.';
comment on column eventsourcing.snapshots.version is 'The events of the stream up to this version are in the state.';
comment on column eventsourcing.snapshots.position is 'Of the event with that version, as event_id and recorded_at are.';
comment on column eventsourcing.snapshots.state_version is 'The version that the aggregate gives its state.';
comment on column eventsourcing.snapshots.fingerprint is 'Tells what the state depends on besides its events.';
comment on column eventsourcing.snapshots.checksum is 'SHA-256 over the key, the other columns and the state.';
comment on column eventsourcing.snapshots.state is 'JSON as it was written.';

select eventsourcing.protect_tenant_table('eventsourcing.snapshots');
revoke all on eventsourcing.snapshots
  from public, eventsourcing_tenant, eventsourcing_runner, eventsourcing_all_tenants;
grant select, insert, update, delete on eventsourcing.snapshots to eventsourcing_tenant;

create or replace function eventsourcing.load_snapshot(p_tenant uuid, p_aggregate_type text, p_aggregate_id text)
returns table (
  version integer, "position" double precision, event_id uuid, recorded_at timestamptz, state_version integer,
  fingerprint text, checksum text, state text, taken_at timestamptz
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
  perform eventsourcing.bind_tenant(p_tenant);
  return query
    select s.version, s.position::double precision, s.event_id, s.recorded_at, s.state_version, s.fingerprint, s.checksum,
      s.state, s.taken_at
    from eventsourcing.snapshots s
    where s.tenant_id = p_tenant and s.aggregate_type = p_aggregate_type and s.aggregate_id = p_aggregate_id;
end
$$;
comment on function eventsourcing.load_snapshot is 'The snapshot of a stream of the tenant; no row if there is none.';

-- Keeps a snapshot unless there is one of a higher version. One that turned out to be of no use (p_useless_version,
-- p_useless_checksum; NULL if there is none) gives way to any. Returns whether it was kept.
create or replace function eventsourcing.save_snapshot(
  p_tenant uuid, p_aggregate_type text, p_aggregate_id text, p_version integer, p_position bigint, p_event_id uuid,
  p_recorded_at timestamptz, p_state_version integer, p_fingerprint text, p_checksum text, p_state text,
  p_useless_version integer, p_useless_checksum text
)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  insert into eventsourcing.snapshots as s (
    tenant_id, aggregate_type, aggregate_id, version, position, event_id, recorded_at, state_version, fingerprint,
    checksum, state, taken_at
  )
  values (
    p_tenant, p_aggregate_type, p_aggregate_id, p_version, p_position, p_event_id, p_recorded_at, p_state_version,
    p_fingerprint, p_checksum, p_state, date_trunc('milliseconds', clock_timestamp())
  )
  on conflict (tenant_id, aggregate_type, aggregate_id) do update
  set version = excluded.version, position = excluded.position, event_id = excluded.event_id,
    recorded_at = excluded.recorded_at, state_version = excluded.state_version, fingerprint = excluded.fingerprint,
    checksum = excluded.checksum, state = excluded.state, taken_at = excluded.taken_at
  where s.version <= excluded.version or s.version = p_useless_version and s.checksum = p_useless_checksum;
  return found;
end
$$;
comment on function eventsourcing.save_snapshot is 'Keeps a snapshot of a stream of the tenant, unless there is a newer one.';

create or replace function eventsourcing.remove_snapshot(p_tenant uuid, p_aggregate_type text, p_aggregate_id text)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  delete from eventsourcing.snapshots s
  where s.tenant_id = p_tenant and s.aggregate_type = p_aggregate_type and s.aggregate_id = p_aggregate_id;
  return found;
end
$$;
comment on function eventsourcing.remove_snapshot is 'Forgets the snapshot of a stream of the tenant.';

-- Owners and callers of the functions above, as in 0008_grants.sql.
do $$
declare
  signature regprocedure;
begin
  grant create on schema eventsourcing to eventsourcing_tenant;
  for signature in
    select p.oid::regprocedure from pg_catalog.pg_proc p
    where p.pronamespace = 'eventsourcing'::regnamespace
      and p.proname in ('load_snapshot', 'save_snapshot', 'remove_snapshot')
  loop
    execute pg_catalog.format('alter function %s owner to eventsourcing_tenant', signature);
    execute pg_catalog.format('revoke all on function %s from public', signature);
    execute pg_catalog.format('grant execute on function %s to eventsourcing_tenant', signature);
  end loop;
  revoke create on schema eventsourcing from eventsourcing_tenant;
end
$$;

create or replace function eventsourcing.schema_version()
returns integer
language sql
immutable
as 'select 13';
