-- Adds the outcome to the record of an operation of this login. Returns false if it has one already, or has no parameters.

create or replace function eventsourcing.complete_operation(p_access uuid, p_outcome jsonb)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  update eventsourcing.cross_tenant_accesses a
  set completed_at = clock_timestamp(), outcome = p_outcome
  where a.access_id = p_access and a.login = session_user::text and a.outcome is null and a.parameters is not null;
  return found;
end
$$;

comment on function eventsourcing.complete_operation is 'Records the outcome of an operation, once, by the login that recorded it.';
