-- The tables of the application with rows of tenants, each with true if it has rows of this one.
create or replace function eventsourcing.administered_tables(p_access uuid, p_tenant uuid)
returns table (name text, handling text, reason text, has_rows boolean)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.administer(p_access, p_tenant);
  for name, handling, reason in select t.name, t.handling, t.reason from eventsourcing.tables_of_tenants() t loop
    begin
      execute format('select exists (select from %s t where t.tenant_id = $1)', name) into has_rows using p_tenant;
    exception when insufficient_privilege then
      has_rows := true; -- nobody may look into a table without rights, so it counts as one with rows
    end;
    return next;
  end loop;
end
$$;

comment on function eventsourcing.administered_tables is 'The tables of the application with rows of tenants, for the administration of one.';
