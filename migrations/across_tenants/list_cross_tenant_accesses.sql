-- Recorded accesses before p_before (NULL: from the newest one), newest first, in the order of their ids (UUID version 7).
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
    select a.access_id, a.accessed_at, a.actor, a.reason, a.operation, a.login
    from eventsourcing.cross_tenant_accesses a
    where a.access_id < coalesce(p_before, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
    order by a.access_id desc
    limit p_limit;
end
$$;

comment on function eventsourcing.list_cross_tenant_accesses is 'The audit trail of cross-tenant accesses, newest first.';
