-- Every database there is, which of them is this one, and whether it can take other tenants than those of its owner.
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

comment on function eventsourcing.list_placements() is 'The databases that tenants can be placed in, and which of them is this one.';
