-- Sets the placement of a tenant in the directory after a move, unless the directory names a third one by now. Requires a recorded
-- access. Returns true if the directory names p_to afterwards. Refuses (SQLSTATE ES005) an unknown placement.
create or replace function eventsourcing.replace_placement(p_access uuid, p_tenant uuid, p_from text, p_to text)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  if not exists (select from eventsourcing.placements p where p.placement = p_to) then
    raise exception 'unknown placement' using errcode = 'ES005',
      hint = 'call eventsourcing.add_placement as the owner of the database with the directory';
  end if;
  insert into eventsourcing.tenant_directory as d (tenant_id, placement) values (p_tenant, p_to)
  on conflict (tenant_id) do update set placement = excluded.placement where d.placement in (p_from, p_to);
  return found;
end
$$;

comment on function eventsourcing.replace_placement is 'Sets the database of a tenant in the directory after a move.';
