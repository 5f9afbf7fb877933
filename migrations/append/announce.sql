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
  if p_tenants is null then
    perform eventsourcing.clear_retired_projections();
  end if;
  insert into eventsourcing.projections (tenant_id, projection, version, rebuild)
  select t.tenant_id, v.projection, v.version, false
  from eventsourcing.tenants t cross join eventsourcing.projection_versions v
  where (p_tenants is null or t.tenant_id = any (p_tenants)) and v.retired_at is null
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
