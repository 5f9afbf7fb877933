-- The actor and the reason of a recorded access of this login.
create or replace function eventsourcing.recorded_access(p_access uuid, out actor text, out reason text)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  select a.actor, a.reason into actor, reason from eventsourcing.cross_tenant_accesses a
  where a.access_id = p_access and a.login = session_user::text;
end
$$;

comment on function eventsourcing.recorded_access is 'The actor and the reason of a recorded access of this login.';
