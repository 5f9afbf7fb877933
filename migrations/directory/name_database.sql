-- Names this database. Called by its owner. From then on, a dedicated database accepts only tenants that its owner has admitted,
-- because no other role may add one.
create or replace function eventsourcing.name_database(p_placement text, p_dedicated boolean)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  known text;
begin
  -- Locked, because two sessions that grant and revoke at once fail with "tuple concurrently updated".
  lock table eventsourcing.placements in share row exclusive mode;
  known := (select p.placement from eventsourcing.placements p where p.here);
  if known <> p_placement then
    raise exception 'this database is the placement %, not %', known, p_placement
      using hint = 'check the connection settings of the placement';
  end if;
  insert into eventsourcing.placements as p (placement, here, dedicated) values (p_placement, true, p_dedicated)
  on conflict (placement) do update set here = true, dedicated = excluded.dedicated;
  if p_dedicated then
    revoke insert (tenant_id) on eventsourcing.tenants from eventsourcing_tenant;
  else
    grant insert (tenant_id) on eventsourcing.tenants to eventsourcing_tenant;
  end if;
end
$$;

comment on function eventsourcing.name_database(text, boolean) is
  'Names a database after its placement. A dedicated one accepts only admitted tenants.';
