-- Starts to fill the tables in eventsourcing_rebuild from the start of the log, beside the live ones. A rebuild in progress
-- starts over.
create or replace function eventsourcing.start_rebuild(p_tenant uuid, p_projection text, p_version integer)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  insert into eventsourcing.projections (tenant_id, projection, version, rebuild, head)
  values (p_tenant, p_projection, p_version, true, coalesce(
    (select e.position from eventsourcing.events e where e.tenant_id = p_tenant order by e.position desc limit 1), 0))
  on conflict (tenant_id, projection, version, rebuild) do update
    set position = 0, head = excluded.head, parked = false, attempts = 0, failed_position = null, error = null,
      failure_kind = null, waited_ms = 0, retry_at = null, twins = null;
  delete from eventsourcing.dead_letters d
  where d.tenant_id = p_tenant and d.projection = p_projection and d.version = p_version and d.rebuild;
end
$$;

comment on function eventsourcing.start_rebuild is 'Starts a rebuild of a projection for the tenant, beside the live read model.';
