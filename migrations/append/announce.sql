-- Announces that the logs of tenants (NULL: any tenants) have new events, so that their projections get work. Rows that a
-- worker holds are skipped, because the worker may have read the log before; their tenants are returned, to be announced
-- again. Runs outside of appends. A lost announcement only delays projections.
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
  -- a transaction of one tenant must not learn which rows of others are held
  if bound is not null and p_tenants is distinct from array[bound::uuid] then
    raise exception 'the transaction is bound to another tenant' using errcode = 'ES001';
  end if;
  if p_tenants is null then
    perform eventsourcing.clear_retired_projections();
  end if;
  insert into eventsourcing.projections (tenant_id, projection, version, rebuild)
  select t.tenant_id, v.projection, v.version, false
  from eventsourcing.tenants t cross join eventsourcing.projection_versions v
  where (p_tenants is null or t.tenant_id = any (p_tenants)) and v.retired_at is null and not v.inline
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

  -- without a payload, so that listeners learn nothing about tenants
  perform pg_notify('eventsourcing', '');
  return coalesce(held, '{}');
end
$$;

comment on function eventsourcing.announce(uuid[]) is 'Announces new events of tenants. A lost announcement only delays projections.';
