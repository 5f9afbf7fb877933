-- Projections: how far each one is with each tenant, what stopped it, and what was put aside.

create table if not exists eventsourcing.projection_versions (
  projection text collate "C" not null,
  version    integer not null,
  primary key (projection, version)
);
comment on table eventsourcing.projection_versions is
  'Projections that are run. Of the application, not of a tenant: names only.';

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
  retry_at        timestamptz,
  served_at       timestamptz not null default '1970-01-01T00:00:00Z',
  constraint projections_pkey primary key (tenant_id, projection, version, rebuild)
);
comment on table eventsourcing.projections is
  'Progress of each projection with each tenant. A worker locks the row while it works on it.';
comment on column eventsourcing.projections.rebuild is 'Whether this is the progress of a rebuild beside the live read model.';
comment on column eventsourcing.projections.position is 'The last position that is in the read model.';
comment on column eventsourcing.projections.head is 'A position the log is known to have reached: a hint that there is work.';
comment on column eventsourcing.projections.parked is 'Stopped by a failure until somebody resumes it.';
comment on column eventsourcing.projections.error is 'What failed, without any payload.';

-- Only what has work to do is in here: tenants that are idle cost nothing. A rebuild has until it takes its place.
create index if not exists projections_due on eventsourcing.projections (projection, version, served_at)
  where not parked and (position < head or rebuild);

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
  'Events that a projection gave up on and went past. The event itself is in the log.';
comment on column eventsourcing.dead_letters.rebuild is
  'Whether a rebuild gave up on it: it counts once the rebuild has taken the place of the live read model.';

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
comment on table eventsourcing.discarded_dead_letters is 'Dead letters that somebody discarded, and why.';

select eventsourcing.protect_tenant_table('eventsourcing.projections');
select eventsourcing.protect_tenant_table('eventsourcing.dead_letters');
select eventsourcing.protect_tenant_table('eventsourcing.discarded_dead_letters');
alter table eventsourcing.projection_versions enable row level security;
alter table eventsourcing.projection_versions force row level security;

-- The runner sees which tenants have events a projection has not seen, and of events their numbers only.
drop policy if exists runner_work on eventsourcing.projections;
create policy runner_work on eventsourcing.projections for all to eventsourcing_runner using (true) with check (true);
drop policy if exists runner_work on eventsourcing.projection_versions;
create policy runner_work on eventsourcing.projection_versions for all to eventsourcing_runner
  using (true) with check (true);
drop policy if exists runner_heads on eventsourcing.tenants;
create policy runner_heads on eventsourcing.tenants for select to eventsourcing_runner using (true);
drop policy if exists runner_heads on eventsourcing.events;
create policy runner_heads on eventsourcing.events for select to eventsourcing_runner using (true);
drop policy if exists all_tenants_read on eventsourcing.projections;
create policy all_tenants_read on eventsourcing.projections for select to eventsourcing_all_tenants using (true);

revoke all on eventsourcing.projections, eventsourcing.projection_versions, eventsourcing.dead_letters,
  eventsourcing.discarded_dead_letters
  from public, eventsourcing_tenant, eventsourcing_runner, eventsourcing_all_tenants;
grant select, insert, update, delete on eventsourcing.projections to eventsourcing_tenant;
grant select, insert, delete, update (rebuild) on eventsourcing.dead_letters to eventsourcing_tenant;
grant select, insert on eventsourcing.discarded_dead_letters to eventsourcing_tenant;
grant select, insert, update on eventsourcing.projections to eventsourcing_runner;
grant select, insert on eventsourcing.projection_versions to eventsourcing_runner;
grant select (tenant_id) on eventsourcing.tenants to eventsourcing_runner;
grant select (tenant_id, position) on eventsourcing.events to eventsourcing_runner;
grant select on eventsourcing.projections to eventsourcing_all_tenants;

-- Says that logs have grown (NULL: any may have), so that their projections have work. A row that a worker holds is
-- passed over, and its tenant is returned, to be announced again: the worker may have looked at the log before it grew.
-- Runs outside of appends; losing it costs only time.
create or replace function eventsourcing.announce(p_tenants uuid[])
returns uuid[]
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_custom_plan
as $$
declare
  bound constant text := nullif(current_setting('eventsourcing.tenant_id', true), '');
  held  uuid[];
begin
  -- what is held of others is no business of a tenant's transaction
  if bound is not null and p_tenants is distinct from array[bound::uuid] then
    raise exception 'the transaction is bound to another tenant' using errcode = 'ES001';
  end if;
  insert into eventsourcing.projections (tenant_id, projection, version, rebuild)
  select t.tenant_id, v.projection, v.version, false
  from eventsourcing.tenants t cross join eventsourcing.projection_versions v
  where p_tenants is null or t.tenant_id = any (p_tenants)
  order by 1, 2, 3
  on conflict do nothing;

  update eventsourcing.projections p set head = grown.head
  from (
    select q.tenant_id, q.projection, q.version, q.rebuild, h.head
    from eventsourcing.projections q
    cross join lateral (
      select e.position as head from eventsourcing.events e where e.tenant_id = q.tenant_id
      order by e.position desc limit 1
    ) h
    where (p_tenants is null or q.tenant_id = any (p_tenants)) and q.head < h.head
    for update of q skip locked
  ) grown
  where p.tenant_id = grown.tenant_id and p.projection = grown.projection and p.version = grown.version
    and p.rebuild = grown.rebuild;

  if p_tenants is not null then
    select array_agg(distinct q.tenant_id) into held
    from eventsourcing.projections q
    cross join lateral (
      select e.position as head from eventsourcing.events e where e.tenant_id = q.tenant_id
      order by e.position desc limit 1
    ) h
    where q.tenant_id = any (p_tenants) and q.head < h.head;
  end if;

  -- no tenant, no number: who overhears it learns that something happened
  perform pg_notify('eventsourcing', '');
  return coalesce(held, '{}');
end
$$;
comment on function eventsourcing.announce(uuid[]) is 'Says that the logs of tenants have grown. A hint: losing it costs only time.';

-- With p_from_now, what is in the logs when the projection is first made known is taken as seen. An announcement makes
-- rows only once this has committed, so no row of a tenant that is in here can be made at position 0 before.
create or replace function eventsourcing.register_projection(
  p_projection text, p_version integer, p_from_now boolean default false
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  insert into eventsourcing.projection_versions (projection, version) values (p_projection, p_version)
  on conflict do nothing;
  if found and p_from_now then
    insert into eventsourcing.projections (tenant_id, projection, version, rebuild, position, head)
    select t.tenant_id, p_projection, p_version, false, log.head, log.head
    from eventsourcing.tenants t
    cross join lateral (
      select coalesce(
        (select e.position from eventsourcing.events e where e.tenant_id = t.tenant_id order by e.position desc limit 1),
        0) as head
    ) log
    order by 1
    on conflict do nothing;
  end if;
end
$$;
comment on function eventsourcing.register_projection is 'Makes a projection known, so that announcements reach it.';

-- Locks the row that has waited longest among those with work, of the first of the given projections that has any.
-- The lock is the claim: it ends with the transaction, or with the process that holds it.
create or replace function eventsourcing.claim_projection(p_projections text[], p_versions integer[])
returns table (
  tenant_id uuid, projection text, version integer, rebuild boolean, "position" bigint, head bigint, attempts integer,
  failed_position bigint, error text
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
  for i in 1 .. cardinality(p_projections) loop
    return query
      select p.tenant_id, p.projection, p.version, p.rebuild, p.position, p.head, p.attempts,
        p.failed_position, p.error
      from eventsourcing.projections p
      where p.projection = p_projections[i] and p.version = p_versions[i] and not p.parked and (p.position < p.head or p.rebuild)
        and (p.retry_at is null or p.retry_at <= clock_timestamp())
      order by p.served_at
      limit 1
      for update skip locked;
    if found then
      return;
    end if;
  end loop;
end
$$;
comment on function eventsourcing.claim_projection is 'Claims the (projection, tenant) that has waited longest.';

-- The start of a worker's transaction: claims work, binds its tenant and gives up every other right. A projection across
-- tenants (p_across) works as eventsourcing_all_tenants, under an access that is on record. Runs with the caller's
-- rights, because it changes the role of the transaction. No row: nothing to do.
create or replace function eventsourcing.begin_projection(
  p_projections text[], p_versions integer[], p_across boolean[], p_access uuid
)
returns table (
  tenant_id uuid, projection text, version integer, rebuild boolean, "position" double precision,
  head double precision, attempts integer, failed_position double precision, error text
)
language plpgsql
as $$
#variable_conflict use_column
declare
  claim  record;
  across boolean;
begin
  if nullif(pg_catalog.current_setting('eventsourcing.tenant_id', true), '') is not null
    or pg_catalog.pg_current_xact_id_if_assigned() is not null
  then
    raise exception 'the connection was handed on with a tenant or an open transaction' using errcode = 'ES003';
  end if;
  select * into claim from eventsourcing.claim_projection(p_projections, p_versions);
  if not found then
    return;
  end if;
  across := (
    select p_across[i] from pg_catalog.generate_subscripts(p_projections, 1) i
    where p_projections[i] = claim.projection and p_versions[i] = claim.version limit 1);
  if across then
    perform eventsourcing.require_cross_tenant_access(p_access);
  end if;
  perform eventsourcing.bind_tenant(claim.tenant_id);
  if claim.rebuild then
    -- the handler's tables are those beside the live ones
    perform pg_catalog.set_config('search_path',
      pg_catalog.concat_ws(', ', 'eventsourcing_rebuild', nullif(pg_catalog.current_setting('search_path'), '')), true);
  end if;
  perform pg_catalog.set_config('role',
    case when across then 'eventsourcing_all_tenants' else 'eventsourcing_tenant' end, true);
  return query select claim.tenant_id, claim.projection, claim.version, claim.rebuild,
    claim.position::double precision, claim.head::double precision, claim.attempts,
    claim.failed_position::double precision, claim.error;
end
$$;
comment on function eventsourcing.begin_projection is 'First statement of a worker''s transaction: claims work and binds its tenant.';

-- Everything up to p_position is in the read model. Looks how far the log is by now, and ends the waiting of others.
create or replace function eventsourcing.advance_projection(
  p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_position bigint
)
returns double precision
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
declare
  log_head bigint;
begin
  perform eventsourcing.bind_tenant(p_tenant);
  log_head := coalesce(
    (select e.position from eventsourcing.events e where e.tenant_id = p_tenant order by e.position desc limit 1), 0);
  update eventsourcing.projections p
  set position = p_position, head = greatest(p_position, log_head), served_at = clock_timestamp(),
    attempts = case when p.failed_position > p_position then p.attempts else 0 end,
    error = case when p.failed_position > p_position then p.error end,
    retry_at = case when p.failed_position > p_position then p.retry_at end,
    failed_position = case when p.failed_position > p_position then p.failed_position end
  where p.tenant_id = p_tenant and p.projection = p_projection and p.version = p_version and p.rebuild = p_rebuild;
  return log_head;
end
$$;
comment on function eventsourcing.advance_projection is 'Moves the checkpoint of a projection; returns the head of the log.';

-- A handler failed at p_failed_position. Tries again after p_retry_in milliseconds; NULL: parks the projection for this
-- tenant. Does nothing if somebody else has gone past that position since.
create or replace function eventsourcing.fail_projection(
  p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_failed_position bigint,
  p_attempts integer, p_error text, p_retry_in double precision
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  update eventsourcing.projections p
  set attempts = p_attempts, failed_position = p_failed_position, error = p_error, served_at = clock_timestamp(),
    parked = p_retry_in is null,
    retry_at = clock_timestamp() + p_retry_in * interval '1 millisecond'
  where p.tenant_id = p_tenant and p.projection = p_projection and p.version = p_version and p.rebuild = p_rebuild
    and p.position < p_failed_position;
end
$$;
comment on function eventsourcing.fail_projection is 'Records a failure: try again later, or park.';

-- Puts an event aside. The caller goes on behind it in the same transaction.
create or replace function eventsourcing.add_dead_letter(
  p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_position bigint, p_event uuid, p_error text,
  p_attempts integer
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  insert into eventsourcing.dead_letters
    (tenant_id, projection, version, rebuild, position, event_id, error, attempts, failed_at)
  values (p_tenant, p_projection, p_version, p_rebuild, p_position, p_event, p_error, p_attempts, clock_timestamp())
  on conflict (tenant_id, projection, version, rebuild, position)
    do nothing;
end
$$;
comment on function eventsourcing.add_dead_letter is 'Puts an event aside that a projection gave up on.';

-- Dead letters after p_after, by position.
create or replace function eventsourcing.list_dead_letters(
  p_tenant uuid, p_projection text, p_version integer, p_after bigint, p_limit integer
)
returns table ("position" double precision, event_id uuid, error text, attempts integer, failed_at timestamptz)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
#variable_conflict use_column
begin
  perform eventsourcing.bind_tenant(p_tenant);
  return query
    select d.position::double precision, d.event_id, d.error, d.attempts, d.failed_at
    from eventsourcing.dead_letters d
    where d.tenant_id = p_tenant and d.projection = p_projection and d.version = p_version and not d.rebuild
      and d.position > p_after
    order by d.position
    limit p_limit;
end
$$;
comment on function eventsourcing.list_dead_letters is 'One page of the dead letters of a projection and tenant.';

-- Removes a dead letter: because it was replayed (no reason), or because it was discarded for a reason, which is kept.
create or replace function eventsourcing.remove_dead_letter(
  p_tenant uuid, p_projection text, p_version integer, p_position bigint, p_reason text
)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  if p_reason is not null then
    insert into eventsourcing.discarded_dead_letters
      (tenant_id, projection, version, position, event_id, error, attempts, failed_at, discarded_at, reason)
    select d.tenant_id, d.projection, d.version, d.position, d.event_id, d.error, d.attempts, d.failed_at,
      clock_timestamp(), p_reason
    from eventsourcing.dead_letters d
    where d.tenant_id = p_tenant and d.projection = p_projection and d.version = p_version and not d.rebuild
      and d.position = p_position;
  end if;
  delete from eventsourcing.dead_letters d
  where d.tenant_id = p_tenant and d.projection = p_projection and d.version = p_version and not d.rebuild
    and d.position = p_position;
  return found;
end
$$;
comment on function eventsourcing.remove_dead_letter is 'Removes a dead letter that was replayed or discarded.';

-- How far a projection is with the tenant; no row if it has never seen it.
create or replace function eventsourcing.projection_status(p_tenant uuid, p_projection text, p_version integer)
returns table (
  rebuild boolean, "position" double precision, head double precision, parked boolean, attempts integer,
  failed_position double precision, error text, retry_at timestamptz, oldest_unprocessed timestamptz
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
#variable_conflict use_column
begin
  perform eventsourcing.bind_tenant(p_tenant);
  return query
    select p.rebuild, p.position::double precision,
      coalesce((select e.position from eventsourcing.events e where e.tenant_id = p_tenant
                order by e.position desc limit 1), 0)::double precision,
      p.parked, p.attempts, p.failed_position::double precision, p.error, p.retry_at,
      (select e.recorded_at from eventsourcing.events e where e.tenant_id = p_tenant and e.position = p.position + 1)
    from eventsourcing.projections p
    where p.tenant_id = p_tenant and p.projection = p_projection and p.version = p_version;
end
$$;
comment on function eventsourcing.projection_status is 'Progress, head and last failure of a projection with the tenant.';

create or replace function eventsourcing.resume_projection(p_tenant uuid, p_projection text, p_version integer)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  update eventsourcing.projections p
  set parked = false, attempts = 0, retry_at = null
  where p.tenant_id = p_tenant and p.projection = p_projection and p.version = p_version and p.parked;
  return found;
end
$$;
comment on function eventsourcing.resume_projection is 'Lets a parked projection try again.';

-- Begins to fill the tables in eventsourcing_rebuild from the start of the log, beside the live ones; if a rebuild is
-- under way, it starts over.
create or replace function eventsourcing.start_rebuild(p_tenant uuid, p_projection text, p_version integer)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  insert into eventsourcing.projections (tenant_id, projection, version, rebuild, head)
  values (p_tenant, p_projection, p_version, true, coalesce(
    (select e.position from eventsourcing.events e where e.tenant_id = p_tenant order by e.position desc limit 1), 0))
  on conflict (tenant_id, projection, version, rebuild) do update
    set position = 0, head = excluded.head, parked = false, attempts = 0, failed_position = null, error = null,
      retry_at = null;
  delete from eventsourcing.dead_letters d
  where d.tenant_id = p_tenant and d.projection = p_projection and d.version = p_version and d.rebuild;
end
$$;
comment on function eventsourcing.start_rebuild is 'Starts a rebuild of a projection for the tenant, beside the live read model.';

-- Locks the live row, so that the live read model stands still. Returns its position.
create or replace function eventsourcing.lock_live_projection(p_tenant uuid, p_projection text, p_version integer)
returns double precision
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  insert into eventsourcing.projections (tenant_id, projection, version, rebuild)
  values (p_tenant, p_projection, p_version, false) on conflict do nothing;
  return (
    select p.position::double precision from eventsourcing.projections p
    where p.tenant_id = p_tenant and p.projection = p_projection and p.version = p_version and not p.rebuild
    for update);
end
$$;
comment on function eventsourcing.lock_live_projection is 'Makes the live read model stand still before a rebuild takes its place.';

-- Read models that can be rebuilt beside themselves: each has a twin of the same name in eventsourcing_rebuild.
create schema if not exists eventsourcing_rebuild;
comment on schema eventsourcing_rebuild is 'Twins of the read models, filled during a rebuild.';
revoke all on schema eventsourcing_rebuild from public;
grant usage on schema eventsourcing_rebuild to eventsourcing_tenant, eventsourcing_all_tenants;

create table if not exists eventsourcing.read_models (
  name       text collate "C" primary key,
  live_table text not null
);
comment on table eventsourcing.read_models is 'Tables registered with register_read_model. Of the application, not of a tenant.';
alter table eventsourcing.read_models enable row level security;
alter table eventsourcing.read_models force row level security;
drop policy if exists anyone_reads on eventsourcing.read_models;
create policy anyone_reads on eventsourcing.read_models for select using (true);
drop policy if exists owner_registers on eventsourcing.read_models;
create policy owner_registers on eventsourcing.read_models for all to current_user using (true) with check (true);
revoke all on eventsourcing.read_models from public;
grant select on eventsourcing.read_models to eventsourcing_tenant, eventsourcing_all_tenants;

-- To be called by the owner, in a migration of the application: protects the table (protect_tenant_table), lets
-- tenant work use it, and makes its twin for rebuilds. Call it again whenever the table has changed, not while a rebuild
-- is under way: its rows would be gone. Restart such a rebuild from the beginning.
create or replace function eventsourcing.register_read_model(target regclass)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  table_name constant text := (select c.relname from pg_class c where c.oid = target);
  twin       constant text := format('eventsourcing_rebuild.%I', table_name);
begin
  -- its name would be another session's, or nobody's, when it is looked up
  if (select c.relpersistence from pg_class c where c.oid = target) = 't' then
    raise exception 'temporary table % cannot be a read model', table_name;
  end if;
  if exists (select from eventsourcing.read_models m where m.name = table_name and m.live_table <> target::text) then
    raise exception 'a read model named % is registered already, as %', table_name,
      (select m.live_table from eventsourcing.read_models m where m.name = table_name)
      using hint = 'read models need names of their own, whatever schema they are in';
  end if;
  perform eventsourcing.protect_tenant_table(target);
  execute format('grant select, insert, update, delete on %s to eventsourcing_tenant', target);
  execute format('drop table if exists %s', twin);
  execute format('create table %s (like %s including all)', twin, target);
  perform eventsourcing.protect_tenant_table(twin::regclass);
  execute format('grant select, insert, update, delete on %s to eventsourcing_tenant', twin);
  execute format('comment on table %s is %L', twin, 'Twin of ' || target::text || ', filled during a rebuild.');
  delete from eventsourcing.read_models m where m.name = table_name;
  insert into eventsourcing.read_models (name, live_table) values (table_name, target::text);
end
$$;
comment on function eventsourcing.register_read_model(regclass) is
  'Protects a read model and makes its twin for rebuilds.';
revoke all on function eventsourcing.register_read_model(regclass) from public;

-- Empties the twins for the tenant. Runs with the caller's rights, under row-level security: triggers on the
-- application's tables find what they look for.
create or replace function eventsourcing.clear_rebuild(p_tenant uuid, p_tables text[])
returns void
language plpgsql
as $$
declare
  read_model text;
begin
  perform eventsourcing.bind_tenant(p_tenant);
  foreach read_model in array p_tables loop
    execute pg_catalog.format('delete from eventsourcing_rebuild.%I where tenant_id = $1', read_model) using p_tenant;
  end loop;
end
$$;
comment on function eventsourcing.clear_rebuild is 'Empties the twins of read models for the tenant.';

create or replace function eventsourcing.finish_rebuild(
  p_tenant uuid, p_projection text, p_version integer, p_position bigint
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  delete from eventsourcing.projections p
  where p.tenant_id = p_tenant and p.projection = p_projection and p.version = p_version and p.rebuild;
  update eventsourcing.projections p set parked = false, attempts = 0, failed_position = null, error = null, retry_at = null
  where p.tenant_id = p_tenant and p.projection = p_projection and p.version = p_version and not p.rebuild;
  perform eventsourcing.advance_projection(p_tenant, p_projection, p_version, false, p_position);
  delete from eventsourcing.dead_letters d
  where d.tenant_id = p_tenant and d.projection = p_projection and d.version = p_version and not d.rebuild;
  update eventsourcing.dead_letters d set rebuild = false
  where d.tenant_id = p_tenant and d.projection = p_projection and d.version = p_version and d.rebuild;
end
$$;
comment on function eventsourcing.finish_rebuild is 'Ends a rebuild: its checkpoint and its dead letters take the place of the live ones.';

-- Ends a rebuild: its rows take the place of the live ones, all in one transaction. Generated and identity columns are
-- made anew. Runs with the caller's rights, under row-level security: only the tenant's rows are touched.
create or replace function eventsourcing.switch_rebuild(
  p_tenant uuid, p_projection text, p_version integer, p_tables text[], p_position bigint
)
returns void
language plpgsql
as $$
declare
  read_model text;
  live       regclass; -- not text: whatever is in the table, what is executed is the quoted name of a relation
  twin       text;
  columns    text;
begin
  perform eventsourcing.bind_tenant(p_tenant);
  foreach read_model in array p_tables loop
    live := (select m.live_table::regclass from eventsourcing.read_models m where m.name = read_model);
    if live is null then
      raise exception 'no read model named % is registered', read_model
        using hint = 'call eventsourcing.register_read_model for it as its owner';
    end if;
    twin := pg_catalog.format('eventsourcing_rebuild.%I', read_model);
    execute pg_catalog.format('delete from %s where tenant_id = $1', live) using p_tenant;
    columns := (
      select pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' order by a.attnum)
      from pg_catalog.pg_attribute a
      where a.attrelid = live and a.attnum > 0 and not a.attisdropped
        and a.attgenerated = '' and a.attidentity = '');
    execute pg_catalog.format('insert into %s (%s) select %2$s from %s where tenant_id = $1', live, columns, twin)
      using p_tenant;
    execute pg_catalog.format('delete from %s where tenant_id = $1', twin) using p_tenant;
  end loop;
  perform eventsourcing.finish_rebuild(p_tenant, p_projection, p_version, p_position);
end
$$;
comment on function eventsourcing.switch_rebuild is 'Puts the rebuilt rows in the place of the live ones.';

-- The start of a transaction for a projection across tenants that is not a worker's: binds the tenant and switches to
-- eventsourcing_all_tenants, under an access that is on record. Runs with the caller's rights, because it changes the
-- role of the transaction.
create or replace function eventsourcing.begin_across_tenants(p_tenant uuid, p_access uuid)
returns void
language plpgsql
as $$
begin
  if nullif(pg_catalog.current_setting('eventsourcing.tenant_id', true), '') is not null
    or pg_catalog.pg_current_xact_id_if_assigned() is not null
  then
    raise exception 'the connection was handed on with a tenant or an open transaction' using errcode = 'ES003';
  end if;
  perform eventsourcing.require_cross_tenant_access(p_access);
  perform eventsourcing.bind_tenant(p_tenant);
  perform pg_catalog.set_config('role', 'eventsourcing_all_tenants', true);
end
$$;
comment on function eventsourcing.begin_across_tenants is
  'First statement of a transaction across tenants on behalf of one: binds it, under a recorded access.';
revoke all on function eventsourcing.begin_across_tenants from public;
grant execute on function eventsourcing.begin_across_tenants to eventsourcing_all_tenants;

-- Owners and callers of the functions above, as in 0008_grants.sql.
do $$
declare
  signature regprocedure;
  owner     text;
begin
  grant create on schema eventsourcing to eventsourcing_tenant, eventsourcing_runner;
  for signature, owner in
    select p.oid::regprocedure,
      case when p.proname in ('announce', 'register_projection', 'claim_projection') then 'eventsourcing_runner'
        else 'eventsourcing_tenant' end
    from pg_catalog.pg_proc p
    where p.pronamespace = 'eventsourcing'::regnamespace and p.prosecdef and p.proname in (
      'announce', 'register_projection', 'claim_projection', 'advance_projection', 'fail_projection',
      'add_dead_letter', 'list_dead_letters', 'remove_dead_letter', 'projection_status', 'resume_projection',
      'start_rebuild', 'lock_live_projection', 'finish_rebuild'
    )
  loop
    execute pg_catalog.format('alter function %s owner to %I', signature, owner);
    execute pg_catalog.format('revoke all on function %s from public', signature);
    execute pg_catalog.format('grant execute on function %s to %I', signature, owner);
  end loop;
  revoke create on schema eventsourcing from eventsourcing_tenant, eventsourcing_runner;
end
$$;

revoke all on function eventsourcing.begin_projection, eventsourcing.clear_rebuild, eventsourcing.switch_rebuild
  from public;
grant execute on function eventsourcing.begin_projection to eventsourcing_runner;
grant execute on function eventsourcing.clear_rebuild, eventsourcing.switch_rebuild to eventsourcing_tenant;
-- who appends says so; what a worker does across tenants ends in its tenant's checkpoint
grant execute on function eventsourcing.announce(uuid[]) to eventsourcing_tenant;
grant execute on function eventsourcing.bind_tenant(uuid) to eventsourcing_runner, eventsourcing_all_tenants;
-- it may read the events anyway; read_log shows those of the tenant that the transaction is bound to
grant execute on function eventsourcing.advance_projection, eventsourcing.fail_projection,
  eventsourcing.add_dead_letter, eventsourcing.read_log
  to eventsourcing_all_tenants;
-- whoever may look across tenants has its dead letters handled again
grant execute on function eventsourcing.lock_live_projection, eventsourcing.projection_status,
  eventsourcing.list_dead_letters, eventsourcing.remove_dead_letter
  to eventsourcing_all_tenants;

create or replace function eventsourcing.schema_version()
returns integer
language sql
immutable
as 'select 9';
