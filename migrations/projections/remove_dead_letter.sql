-- Removes a dead letter that was replayed (p_reason is NULL), or discarded for a reason, which is kept.
create or replace function eventsourcing.remove_dead_letter(
  p_tenant uuid, p_projection text, p_version integer, p_position bigint, p_reason text
)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  if p_reason is not null then
    insert into eventsourcing.discarded_dead_letters
      (tenant_id, projection, version, position, event_id, error, attempts, failed_at, discarded_at, reason)
    select d.tenant_id, d.projection, d.version, d.position, d.event_id, d.error, d.attempts, d.failed_at,
      clock_timestamp(), p_reason
    from eventsourcing.dead_letters d
    where d.tenant_id = p_tenant and d.projection = p_projection and d.version = p_version and not d.rebuild
      and d.position = p_position;
  end if;
  delete from eventsourcing.dead_letters d
  where d.tenant_id = p_tenant and d.projection = p_projection and d.version = p_version and not d.rebuild
    and d.position = p_position;
  return found;
end
$$;

comment on function eventsourcing.remove_dead_letter is 'Removes a dead letter that was replayed or discarded.';
