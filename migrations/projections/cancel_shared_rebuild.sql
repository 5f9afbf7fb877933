-- Cancels a rebuild of a read model that all tenants share, and empties its twins. Returns false if there is none. Runs with the
-- caller's rights, because it changes the role to one that may write tables of the application.
create or replace function eventsourcing.cancel_shared_rebuild(
  p_access uuid, p_projection text, p_version integer, p_tables text[]
)
returns boolean
language plpgsql
as $$
declare
  former     pg_catalog.text := pg_catalog.current_setting('role');
  cancelled  boolean;
  read_model pg_catalog.text;
begin
  if pg_catalog.current_setting('lock_timeout') operator(pg_catalog.=) '0' then
    -- a worker may have locked its tenant, and then be idle for long
    perform pg_catalog.set_config('lock_timeout', '10s', true);
  end if;
  perform eventsourcing.require_cross_tenant_access(p_access);
  perform pg_catalog.set_config('role', 'eventsourcing_all_tenants', true);
  cancelled := eventsourcing.end_shared_rebuild(p_access, p_projection, p_version);
  if cancelled then
    foreach read_model in array p_tables loop
      if pg_catalog.to_regclass(pg_catalog.format('eventsourcing_rebuild.%I', read_model)) is not null then
        execute pg_catalog.format('delete from eventsourcing_rebuild.%I', read_model);
      end if;
    end loop;
  end if;
  perform pg_catalog.set_config('role', former, true);
  return cancelled;
end
$$;

comment on function eventsourcing.cancel_shared_rebuild is 'Cancels a rebuild of a read model that all tenants share.';
