-- Starts a transaction for a projection across tenants outside of a worker: binds the tenant and switches to
-- eventsourcing_all_tenants, under a recorded access. Runs with the caller's rights, because it changes the role of the
-- transaction.
create or replace function eventsourcing.begin_across_tenants(p_tenant uuid, p_access uuid)
returns void
language plpgsql
as $$
declare
  cleaned pg_catalog.text; -- the function sets no path, because its end would undo the cleaning of the session's path
begin
  if pg_catalog.current_setting('eventsourcing.tenant_id', true) operator(pg_catalog.<>) ''
    or pg_catalog.pg_current_xact_id_if_assigned() is not null
  then
    raise exception 'the last user of the connection left a bound tenant or an open transaction' using errcode = 'ES003';
  end if;
  -- assigned, because a PERFORM would take longer
  cleaned := eventsourcing.clean_session(false);
  if pg_catalog.current_setting('lock_timeout') operator(pg_catalog.=) '0' then
    -- a worker may have locked the projection, and then be idle for long
    cleaned := pg_catalog.set_config('lock_timeout', '10s', true);
  end if;
  perform eventsourcing.require_cross_tenant_access(p_access);
  perform eventsourcing.bind_tenant(p_tenant);
  perform pg_catalog.set_config('role', 'eventsourcing_all_tenants', true);
end
$$;

comment on function eventsourcing.begin_across_tenants is
  'First statement of a transaction across tenants on behalf of one: binds it, under a recorded access.';
