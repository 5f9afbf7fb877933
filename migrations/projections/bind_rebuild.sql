-- Records the twins that a rebuild fills.
create or replace function eventsourcing.bind_rebuild(p_tenant uuid, p_projection text, p_version integer, p_twins text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  update eventsourcing.projections p set twins = p_twins
  where p.tenant_id = p_tenant and p.projection = p_projection and p.version = p_version and p.rebuild;
end
$$;

comment on function eventsourcing.bind_rebuild is 'Records the twins that a rebuild fills.';
