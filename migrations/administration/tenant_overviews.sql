-- Tenants with the ends of their logs and the work of their projections, each as the JSON of the contract AdministrationStorage,
-- after (p_after_value, p_after_tenant), ordered by p_order descending and by id. Looks up the value of p_order for each tenant,
-- and everything else for those of the page alone. Numbers of recent events come from positions, because these have no gaps.
create or replace function eventsourcing.tenant_overviews(
  p_access uuid, p_order text, p_statuses text[], p_prefix text, p_after_value double precision, p_after_tenant uuid,
  p_limit integer
)
returns setof jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
declare
  moment constant timestamptz := clock_timestamp();
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  return query
    -- read at once, because a look-up for each tenant takes longer; nothing is read for another order
    with behind as materialized (
      select p.tenant_id, min(p.position) as position from eventsourcing.projections p
      where p_order = 'distance' and not p.rebuild
      group by p.tenant_id
    ), valued as materialized (
      select t.*, (case p_order
        when 'head' then (
          select e.position from eventsourcing.events e where e.tenant_id = t.tenant_id order by e.position desc limit 1)
        when 'lastAppend' then (
          select (extract(epoch from e.recorded_at) * 1000)::bigint from eventsourcing.events e
          where e.tenant_id = t.tenant_id order by e.position desc limit 1)
        when 'deadLetters' then (
          select count(*) from eventsourcing.dead_letters d where d.tenant_id = t.tenant_id and not d.rebuild)
        when 'distance' then case when b.position is not null then greatest(0, (
          select e.position from eventsourcing.events e where e.tenant_id = t.tenant_id order by e.position desc limit 1
        ) - b.position) end
      end)::double precision as value
      from eventsourcing.tenants t
      left join behind b on b.tenant_id = t.tenant_id
      where t.status <> 'elsewhere' and (p_statuses is null or t.status = any (p_statuses))
        and (p_prefix is null or starts_with(t.tenant_id::text, p_prefix))
    ), page as (
      select v.*, coalesce(v.value, 0) as place from valued v
      where p_after_tenant is null or coalesce(v.value, 0) < p_after_value
        or coalesce(v.value, 0) = p_after_value and v.tenant_id > p_after_tenant
      order by place desc, v.tenant_id
      limit p_limit
    )
    select jsonb_build_object(
      'tenantId', t.tenant_id, 'value', t.place, 'status', t.status,
      'createdAt', (extract(epoch from t.created_at) * 1000)::bigint,
      'position', coalesce(e.position, 0), 'lastAppendAt', (extract(epoch from e.recorded_at) * 1000)::bigint,
      'lastDay', case when e.recorded_at >= moment - interval '24 hours'
        then e.position + 1 - eventsourcing.usage_position(t.tenant_id, e.position, moment - interval '24 hours') else 0 end,
      'lastWeek', case when e.recorded_at >= moment - interval '168 hours'
        then e.position + 1 - eventsourcing.usage_position(t.tenant_id, e.position, moment - interval '168 hours') else 0 end,
      'deadLetters', (select count(*) from eventsourcing.dead_letters d where d.tenant_id = t.tenant_id and not d.rebuild),
      'slowest', (
        select jsonb_build_object('projection', p.projection, 'version', p.version,
          'distance', greatest(0, coalesce(e.position, 0) - p.position))
        from eventsourcing.projections p where p.tenant_id = t.tenant_id and not p.rebuild
        order by p.position, p.projection, p.version limit 1),
      'quota', t.quota, 'hold', t.hold,
      'move', case when t.status in ('importing', 'moving') then t.undertaking -> 'move' ->> 'id' end)
    from page t
    left join lateral (
      select x.position, x.recorded_at from eventsourcing.events x
      where x.tenant_id = t.tenant_id order by x.position desc limit 1
    ) e on true
    order by t.place desc, t.tenant_id;
end
$$;

comment on function eventsourcing.tenant_overviews is 'One page of the tenants with their ends and their work, for operators.';
