-- Recorded accesses before p_before (NULL: from the newest one), newest first, for programs of former versions.
create or replace function eventsourcing.list_cross_tenant_accesses(
  p_access uuid, p_before uuid, p_limit integer
)
returns setof eventsourcing.cross_tenant_accesses
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  return query select a.* from eventsourcing.list_accesses(p_access, null, p_before, p_limit) a;
end
$$;

comment on function eventsourcing.list_cross_tenant_accesses is 'The audit trail of cross-tenant accesses, newest first.';
