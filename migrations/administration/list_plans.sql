create or replace function eventsourcing.list_plans(p_access uuid)
returns table (name text, limits jsonb)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  return query select p.name, p.limits from eventsourcing.plans p order by p.name;
end
$$;

comment on function eventsourcing.list_plans is 'The plans for the quotas of tenants, ordered by name.';
