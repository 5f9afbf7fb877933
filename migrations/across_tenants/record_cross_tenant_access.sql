-- Records an access across tenants, for programs of former versions.

create or replace function eventsourcing.record_cross_tenant_access(
  p_access uuid, p_actor text, p_reason text, p_operation text
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  perform eventsourcing.record_operation(p_access, p_actor, p_reason, p_operation, null);
end
$$;

comment on function eventsourcing.record_cross_tenant_access is 'Records an access across tenants: actor, reason and operation.';
