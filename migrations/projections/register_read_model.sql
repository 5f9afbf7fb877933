-- For the owner, in a migration of the application: protects the table (protect_tenant_table), grants work for a tenant the
-- use of it, and creates its twin for rebuilds. Call it again after each change of the table; a rebuild in progress starts
-- over.
create or replace function eventsourcing.register_read_model(target regclass)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  table_name constant text := eventsourcing.read_model_name(target);
  twin       constant text := format('eventsourcing_rebuild.%I', table_name);
begin
  perform eventsourcing.protect_tenant_table(target);
  execute format('grant select, insert, update, delete on %s to eventsourcing_tenant', target);
  execute format('drop table if exists %s', twin);
  execute format('create table %s (like %s including all)', twin, target);
  perform eventsourcing.protect_tenant_table(twin::regclass);
  execute format('grant select, insert, update, delete on %s to eventsourcing_tenant', twin);
  execute format('comment on table %s is %L', twin, 'Twin of ' || target::text || ', filled during a rebuild.');
  delete from eventsourcing.read_models m where m.name = table_name;
  insert into eventsourcing.read_models (name, live_table) values (table_name, target::text);
end
$$;

comment on function eventsourcing.register_read_model(regclass) is
  'Protects a read model and creates its twin for rebuilds.';
