-- Tenants after p_after (NULL: from the first one), ordered by id, with the last positions of their logs.
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
      and t.status in ('active', 'suspended', 'moving')
    order by t.tenant_id
    limit p_limit;
end
$$;

comment on function eventsourcing.list_tenants is 'One page of the tenants with the last positions of their logs.';
