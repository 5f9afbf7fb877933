-- All placements. here marks this database, and dedicated those that accept only admitted tenants.
create or replace function eventsourcing.list_placements()
returns table (placement text, here boolean, dedicated boolean, closed boolean)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
  select p.placement, p.here, p.dedicated,
    not has_column_privilege('eventsourcing_tenant', 'eventsourcing.tenants', 'tenant_id', 'insert')
  from eventsourcing.placements p order by p.placement
$$;

comment on function eventsourcing.list_placements() is 'The databases in which tenants can be placed, with a mark on this one.';
