-- The position of an event by its id; NULL if the tenant's log has no such event.
create or replace function eventsourcing.event_position(p_tenant uuid, p_event_id uuid)
returns double precision
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  perform eventsourcing.require_visible(p_tenant);
  return (select e.position from eventsourcing.events e where e.tenant_id = p_tenant and e.event_id = p_event_id);
end
$$;

comment on function eventsourcing.event_position is 'The position of an event of the tenant''s log by its id.';
