-- Sets the placement of a tenant in the directory, under a recorded access. It copies no data. Refuses (SQLSTATE ES005) an
-- unknown placement.
create or replace function eventsourcing.place_tenant(p_access uuid, p_tenant uuid, p_placement text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  if not exists (select from eventsourcing.placements p where p.placement = p_placement) then
    raise exception 'unknown placement' using errcode = 'ES005',
      hint = 'call eventsourcing.add_placement as the owner of the database with the directory';
  end if;
  insert into eventsourcing.tenant_directory (tenant_id, placement) values (p_tenant, p_placement)
  on conflict (tenant_id) do update set placement = excluded.placement;
end
$$;

comment on function eventsourcing.place_tenant is 'Sets the database of a tenant in the directory.';
