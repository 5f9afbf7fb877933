create or replace function eventsourcing.log_position(p_tenant uuid)
returns double precision
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  return coalesce(
    (select e.position from eventsourcing.events e where e.tenant_id = p_tenant order by e.position desc limit 1), 0);
end
$$;

comment on function eventsourcing.log_position is 'The last position of the tenant''s log; 0 if it is empty.';
