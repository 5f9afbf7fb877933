-- Registers a table that a projection across tenants fills: lets work across tenants use it, and creates its twin for rebuilds.
-- Called by the owner, in a migration of the application. Tenants get no rights on the table. A table with a tenant_id is also
-- protected (protect_tenant_table): if select on it is granted to eventsourcing_tenant, each tenant sees its own rows. Call it
-- again after every change of the table; a rebuild in progress begins again then.
create or replace function eventsourcing.register_shared_read_model(target regclass)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  table_name constant text := eventsourcing.read_model_name(target);
  twin       constant text := format('eventsourcing_rebuild.%I', table_name);
  of_tenants constant boolean := exists (
    select from pg_attribute a where a.attrelid = target and a.attname = 'tenant_id' and not a.attisdropped);
begin
  if of_tenants then
    perform eventsourcing.protect_tenant_table(target);
    perform eventsourcing.open_table(target, 'all_tenants', 'all', 'eventsourcing_all_tenants');
  end if;
  execute format('grant select, insert, update, delete on %s to eventsourcing_all_tenants', target);
  execute format('drop table if exists %s', twin);
  execute format('create table %s (like %s including all)', twin, target);
  if of_tenants then
    perform eventsourcing.protect_tenant_table(twin::regclass);
  end if;
  perform eventsourcing.open_table(twin::regclass, 'all_tenants', 'all', 'eventsourcing_all_tenants');
  execute format('grant select, insert, update, delete on %s to eventsourcing_all_tenants', twin);
  execute format('comment on table %s is %L', twin, 'Twin of ' || target::text || ', filled during a rebuild.');
  delete from eventsourcing.read_models m where m.name = table_name;
  insert into eventsourcing.read_models (name, live_table, shared) values (table_name, target::text, true);
end
$$;

comment on function eventsourcing.register_shared_read_model(regclass) is
  'Lets projections across tenants fill a table, and creates its twin for rebuilds.';
