create or replace function eventsourcing.resume_projection(p_tenant uuid, p_projection text, p_version integer)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  update eventsourcing.projections p
  set parked = false, attempts = 0, waited_ms = 0, retry_at = null
  where p.tenant_id = p_tenant and p.projection = p_projection and p.version = p_version and p.parked;
  return found;
end
$$;

comment on function eventsourcing.resume_projection is 'Lets a parked projection try again.';
