-- The last position of the tenant's log (0 if it is empty), the id of the event there, and the id of the event at p_at.
create or replace function eventsourcing.log_head(
  in p_tenant uuid, in p_at bigint, out "position" double precision, out event_id text, out event_id_at text
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  perform eventsourcing.require_visible(p_tenant);
  select e.position, e.event_id into "position", event_id
  from eventsourcing.events e where e.tenant_id = p_tenant order by e.position desc limit 1;
  "position" := coalesce("position", 0);
  if p_at is not null then
    event_id_at := (select e.event_id from eventsourcing.events e where e.tenant_id = p_tenant and e.position = p_at);
  end if;
end
$$;

comment on function eventsourcing.log_head is 'The end of the tenant''s log, and the id of the event at a position.';
