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
