-- The reverse of register_read_model, for the owner: before the table is dropped, or emptied to be filled by another version.
-- Removes the twin and leaves the table unchanged. Takes the name without a schema.
create or replace function eventsourcing.unregister_read_model(read_model text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  used eventsourcing.projection_versions;
begin
  select * into used from eventsourcing.projection_versions v
  where read_model = any (v.tables) and v.retired_at is null limit 1;
  if found then
    raise exception 'read model % is filled by projection %, version %', read_model, used.projection, used.version
      using hint = 'retire that version first (ProjectionManager.retire)';
  end if;
  execute format('drop table if exists eventsourcing_rebuild.%I', read_model);
  delete from eventsourcing.read_models m where m.name = read_model;
  update eventsourcing.projection_versions v set tables = array_remove(v.tables, read_model)
  where read_model = any (v.tables);
end
$$;

comment on function eventsourcing.unregister_read_model(text) is
  'Unregisters a read model, so that it can be dropped, or emptied and filled by another version.';
