-- Empties the twins for the tenant. Runs with the caller's rights and search path, under row-level security, because triggers of
-- the application may depend on them.
create or replace function eventsourcing.clear_rebuild(p_tenant uuid, p_tables text[])
returns void
language plpgsql
as $$
declare
  read_model pg_catalog.text;
begin
  perform eventsourcing.bind_tenant(p_tenant);
  foreach read_model in array p_tables loop
    continue when pg_catalog.to_regclass(pg_catalog.format('eventsourcing_rebuild.%I', read_model)) is null;
    execute pg_catalog.format('delete from eventsourcing_rebuild.%I where tenant_id operator(pg_catalog.=) $1', read_model) using p_tenant;
  end loop;
end
$$;

comment on function eventsourcing.clear_rebuild is 'Empties the twins of read models for the tenant.';
