-- Who owns and who may call the functions. They run with the rights of their owner (security definer): tenant work
-- runs as eventsourcing_tenant whoever is connected, even a superuser, and row-level security holds for it.

do $$
declare
  signature regprocedure;
  owner     text;
begin
  grant create on schema eventsourcing to eventsourcing_tenant, eventsourcing_all_tenants;
  for signature, owner in
    select p.oid::regprocedure,
      case when p.proname in (
        'record_cross_tenant_access', 'require_cross_tenant_access', 'list_tenants', 'read_all_logs',
        'set_tenant_status', 'list_cross_tenant_accesses', 'usage', 'usage_position', 'place_tenant'
      ) then 'eventsourcing_all_tenants' else 'eventsourcing_tenant' end
    from pg_catalog.pg_proc p
    where p.pronamespace = 'eventsourcing'::regnamespace and p.prosecdef
  loop
    execute pg_catalog.format('alter function %s owner to %I', signature, owner);
    execute pg_catalog.format('revoke all on function %s from public', signature);
    execute pg_catalog.format('grant execute on function %s to %I', signature, owner);
  end loop;
  revoke create on schema eventsourcing from eventsourcing_tenant, eventsourcing_all_tenants;
end
$$;

-- What the store asks when it starts. Every later migration replaces it with its own number.
create or replace function eventsourcing.schema_version()
returns integer
language sql
immutable
as 'select 8';
comment on function eventsourcing.schema_version() is 'Number of the last migration.';
