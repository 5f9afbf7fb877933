-- Defines a plan, or changes its limits. They apply to every tenant that has the plan, from its next append on.
create or replace function eventsourcing.define_plan(p_access uuid, p_name text, p_limits jsonb)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  insert into eventsourcing.plans as p (name, limits) values (p_name, p_limits)
  on conflict (name) do update set limits = excluded.limits;
end
$$;

comment on function eventsourcing.define_plan is 'Defines a plan for the quotas of tenants, or changes its limits.';
