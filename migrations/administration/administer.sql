-- Begins an administrative operation: requires a recorded access of this login, and binds the tenant. The access is also the
-- permission to read a tenant that no other work may see.
create or replace function eventsourcing.administer(p_access uuid, p_tenant uuid)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  perform eventsourcing.bind_tenant(p_tenant);
  perform set_config('eventsourcing.administered', p_access::text, true);
  if current_setting('lock_timeout') = '0' then
    perform set_config('lock_timeout', '10s', true);
  end if;
end
$$;

comment on function eventsourcing.administer is 'Requires a recorded access, and binds a tenant for its administration.';
