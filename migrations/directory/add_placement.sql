-- Adds a placement to the directory. Called by the owner of the database with the directory.
create or replace function eventsourcing.add_placement(p_placement text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  insert into eventsourcing.placements (placement) values (p_placement) on conflict do nothing;
end
$$;

comment on function eventsourcing.add_placement(text) is 'Adds a database to the directory, so that tenants can be placed in it.';
