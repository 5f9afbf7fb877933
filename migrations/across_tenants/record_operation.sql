-- Records an access across tenants, or an operation with its parameters (NULL for a look). Every function that reads across
-- tenants requires the id of a recorded access.

create or replace function eventsourcing.record_operation(
  p_access uuid, p_actor text, p_reason text, p_operation text, p_parameters jsonb
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
declare
  recorded eventsourcing.cross_tenant_accesses;
begin
  -- The trail is read in the order of ids. An id must be as old as its record, so that nobody can hide an access in the past.
  if pg_catalog.substr(p_access::text, 15, 1) <> '7' or pg_catalog.abs(
    ('x' || pg_catalog.substr(pg_catalog.replace(p_access::text, '-', ''), 1, 12))::bit(48)::bigint
      - extract(epoch from clock_timestamp()) * 1000
  ) > 3600000 then
    raise exception 'access id % is not a UUID of version 7 made within an hour of the database''s clock', p_access
      using errcode = 'ES004', hint = 'let the store create the id, and set the clocks of both machines';
  end if;
  insert into eventsourcing.cross_tenant_accesses (access_id, actor, reason, operation, login, parameters)
  values (p_access, p_actor, p_reason, p_operation, session_user, p_parameters)
  on conflict (access_id) do nothing
  returning * into recorded;
  if recorded.access_id is null and not exists (
    -- the same access, recorded again after a lost answer
    select from eventsourcing.cross_tenant_accesses a
    where a.access_id = p_access and a.actor = p_actor and a.reason = p_reason and a.operation = p_operation
      and a.login = session_user::text and a.parameters is not distinct from p_parameters
  ) then
    raise exception 'access id % is recorded for another access', p_access using errcode = 'ES004';
  end if;
end
$$;

comment on function eventsourcing.record_operation is 'Records an access across tenants: actor, reason, operation and its parameters.';
