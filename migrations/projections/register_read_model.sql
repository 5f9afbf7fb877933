-- For the owner, in a migration of the application: protects the table (protect_tenant_table), grants work for a tenant the
-- use of it, and creates its twin for rebuilds. Call it again after each change of the table; a rebuild in progress starts
-- over.
create or replace function eventsourcing.register_read_model(target regclass)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  table_name constant text := (select c.relname from pg_class c where c.oid = target);
  twin       constant text := format('eventsourcing_rebuild.%I', table_name);
begin
  -- another session would not find it under its name
  if (select c.relpersistence from pg_class c where c.oid = target) = 't' then
    raise exception 'temporary table % cannot be a read model', table_name;
  end if;
  if exists (select from eventsourcing.read_models m where m.name = table_name and m.live_table <> target::text) then
    raise exception 'a read model named % is registered already, as %', table_name,
      (select m.live_table from eventsourcing.read_models m where m.name = table_name)
      using hint = 'read models must have different names, even in different schemas';
  end if;
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
