-- Looking across tenants. Every function takes the id of an access that was recorded before: no record, no rows.

create or replace function eventsourcing.record_cross_tenant_access(
  p_access uuid, p_actor text, p_reason text, p_operation text
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  insert into eventsourcing.cross_tenant_accesses (access_id, actor, reason, operation)
  values (p_access, p_actor, p_reason, p_operation)
  on conflict (access_id) do nothing; -- recorded again after a lost reply
end
$$;
comment on function eventsourcing.record_cross_tenant_access is 'Writes who looks across tenants, why, and at what.';

-- Refuses (SQLSTATE ES004) an access that is not on record.
create or replace function eventsourcing.require_cross_tenant_access(p_access uuid)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  if not exists (select from eventsourcing.cross_tenant_accesses a where a.access_id = p_access) then
    raise exception 'no recorded cross-tenant access %', p_access using errcode = 'ES004';
  end if;
end
$$;
comment on function eventsourcing.require_cross_tenant_access is 'Refuses a cross-tenant access that is not on record.';

-- Tenants with an id greater than p_after (NULL: from the first), by id, with the head of their log.
create or replace function eventsourcing.list_tenants(p_access uuid, p_after uuid, p_limit integer)
returns table (tenant_id uuid, status text, created_at timestamptz, "position" double precision)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  return query
    select t.tenant_id, t.status, t.created_at,
      coalesce((select e.position from eventsourcing.events e where e.tenant_id = t.tenant_id
                order by e.position desc limit 1), 0)::double precision
    from eventsourcing.tenants t
    where t.tenant_id >= coalesce(p_after, '00000000-0000-0000-0000-000000000000') and t.tenant_id is distinct from p_after
    order by t.tenant_id
    limit p_limit;
end
$$;
comment on function eventsourcing.list_tenants is 'One page of the tenants with the heads of their logs.';

-- Events after (p_after_tenant, p_after_position), by tenant and position: tenant after tenant, each in its order.
create or replace function eventsourcing.read_all_logs(
  p_access uuid, p_after_tenant uuid, p_after_position bigint, p_limit integer, p_max_bytes bigint
)
returns table (tenant_id uuid, event eventsourcing.stored_event)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
-- as in read_stream
set enable_sort = off
as $$
#variable_conflict use_column
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  return query
    select e.tenant_id, row(
      e.position::double precision, e.aggregate_type, e.aggregate_id, e.version, e.event_id, e.event_type,
      e.schema_version, e.occurred_at, e.recorded_at, e.actor, e.correlation_id, e.causation_id,
      e.metadata::text, e.payload::text, e.more, e.tags, encode(e.hash, 'hex'))::eventsourcing.stored_event
    from (
      select e.*, sum(e.bytes) over (order by e.tenant_id, e.position rows unbounded preceding) as total,
        lead(true, 1, false) over (order by e.tenant_id, e.position) as more
      from eventsourcing.events e
      where (e.tenant_id, e.position) > (coalesce(p_after_tenant, '00000000-0000-0000-0000-000000000000'), coalesce(p_after_position, 0))
      order by e.tenant_id, e.position
      limit p_limit
    ) e
    where e.total - e.bytes < p_max_bytes
    order by e.tenant_id, e.position;
end
$$;
comment on function eventsourcing.read_all_logs is 'One page of the logs of all tenants, in each tenant''s order.';

-- Suspends or resumes a tenant. Waits for the append that holds the tenant's lock; the next one sees the new status.
-- Returns the former status, NULL for an unknown tenant.
create or replace function eventsourcing.set_tenant_status(p_access uuid, p_tenant uuid, p_status text)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
declare
  former text;
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  select t.status into former from eventsourcing.tenants t where t.tenant_id = p_tenant for no key update;
  update eventsourcing.tenants t set status = p_status where t.tenant_id = p_tenant and t.status <> p_status;
  return former;
end
$$;
comment on function eventsourcing.set_tenant_status is 'Suspends or resumes a tenant, in order with its appends.';

-- Recorded accesses before p_before (NULL: from the newest), newest first: their ids are UUIDs of version 7.
create or replace function eventsourcing.list_cross_tenant_accesses(
  p_access uuid, p_before uuid, p_limit integer
)
returns setof eventsourcing.cross_tenant_accesses
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  return query
    select a.access_id, a.accessed_at, a.actor, a.reason, a.operation
    from eventsourcing.cross_tenant_accesses a
    where a.access_id < coalesce(p_before, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
    order by a.access_id desc
    limit p_limit;
end
$$;
comment on function eventsourcing.list_cross_tenant_accesses is 'The audit trail of cross-tenant accesses, newest first.';
