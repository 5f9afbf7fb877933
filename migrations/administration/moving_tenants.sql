-- The tenants with an unfinished move from or to this database: importing under a move, moving, or moved with rows left here.
create or replace function eventsourcing.moving_tenants(p_access uuid)
returns setof uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  return query
    -- the index of the tenants that no work sees
    select t.tenant_id from eventsourcing.tenants t
    where t.status in ('importing', 'moving', 'moved', 'erased')
      and (t.status = 'moving' or t.status = 'importing' and t.undertaking -> 'move' is not null
        or t.status = 'moved' and t.undertaking -> 'purged' is null)
    order by t.tenant_id;
end
$$;

comment on function eventsourcing.moving_tenants is 'The tenants with an unfinished move from or to this database.';
