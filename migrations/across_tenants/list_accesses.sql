-- Recorded accesses before p_before (NULL: from the newest one), newest first, in the order of their ids (UUID version 7): all of
-- them, or the operations with parameters and exactly one name.
create or replace function eventsourcing.list_accesses(
  p_access uuid, p_operation text, p_before uuid, p_limit integer
)
returns setof eventsourcing.cross_tenant_accesses
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  if p_operation is null then
    return query
      select a.* from eventsourcing.cross_tenant_accesses a
      where a.access_id < coalesce(p_before, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
      order by a.access_id desc
      limit p_limit;
  else
    return query
      select a.* from eventsourcing.cross_tenant_accesses a
      where a.parameters is not null and a.operation collate "C" = p_operation
        and a.access_id < coalesce(p_before, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
      order by a.access_id desc
      limit p_limit;
  end if;
end
$$;

comment on function eventsourcing.list_accesses is 'The audit trail of accesses across tenants and of operations, newest first.';
