-- Starts a transaction for the application's own SQL: binds the tenant and gives up all other rights. Runs with the caller's
-- rights, because it changes the role of the transaction. Refuses (SQLSTATE ES003) a connection that its last user left with a
-- bound tenant or an open transaction.
create or replace function eventsourcing.begin_tenant(p_tenant uuid)
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
    -- another transaction of the application may have locked the tenant, and then be idle for long
    cleaned := pg_catalog.set_config('lock_timeout', '10s', true);
  end if;
  perform eventsourcing.bind_tenant(p_tenant);
  perform pg_catalog.set_config('role', 'eventsourcing_tenant', true);
  perform eventsourcing.require_visible(p_tenant);
end
$$;

comment on function eventsourcing.begin_tenant(uuid) is
  'First statement of a tenant-bound transaction: binds the tenant and switches to the role eventsourcing_tenant.';
