-- The tenants that have rows and are hidden from work across tenants: importing, moved or erased; with p_moving also those on the
-- move, on which projections do not work.
create or replace function eventsourcing.unseen_tenants(p_moving boolean)
returns uuid[]
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  return array(
    select t.tenant_id from eventsourcing.tenants t
    where t.status in ('importing', 'moving', 'moved', 'erased') and (p_moving or t.status <> 'moving')
      and t.undertaking -> 'purged' is null);
end
$$;

comment on function eventsourcing.unseen_tenants is 'The tenants with rows that are hidden from work across tenants.';
