-- Starts a rebuild of a read model that all tenants share, beside the live one, or joins one in progress. Returns a sentence with
-- the problem if it cannot start, otherwise NULL. Runs with the caller's rights, because it changes the role to one that may
-- write tables of the application.
create or replace function eventsourcing.start_shared_rebuild(
  p_access uuid, p_projection text, p_version integer, p_tables text[], p_restart boolean
)
returns text
language plpgsql
as $$
declare
  former     pg_catalog.text := pg_catalog.current_setting('role');
  problem    pg_catalog.text;
  begun      boolean;
  read_model pg_catalog.text;
begin
  if pg_catalog.current_setting('lock_timeout') operator(pg_catalog.=) '0' then
    -- a worker may have locked its tenant, and then be idle for long
    perform pg_catalog.set_config('lock_timeout', '10s', true);
  end if;
  perform eventsourcing.require_cross_tenant_access(p_access);
  perform pg_catalog.set_config('role', 'eventsourcing_all_tenants', true);
  problem := eventsourcing.rebuild_problem(p_projection, p_version, p_tables, true);
  if problem is null then
    begun := eventsourcing.begin_shared_rebuild(p_access, p_projection, p_version, p_restart);
    if begun is null then
      problem := 'no runner has been started with it: start one, then rebuild again';
    elsif begun then
      foreach read_model in array p_tables loop
        execute pg_catalog.format('delete from eventsourcing_rebuild.%I', read_model);
      end loop;
    end if;
  end if;
  perform pg_catalog.set_config('role', former, true);
  return problem;
end
$$;

comment on function eventsourcing.start_shared_rebuild is
  'Starts a rebuild of a read model that all tenants share, beside the live one.';
