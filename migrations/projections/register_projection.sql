-- With p_from_now, what is in the logs when the projection is first made known is taken as seen. An announcement makes
-- rows only once this has committed, so no row of a tenant that is in here can be made at position 0 before.
create or replace function eventsourcing.register_projection(
  p_projection text, p_version integer, p_from_now boolean default false
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  insert into eventsourcing.projection_versions (projection, version) values (p_projection, p_version)
  on conflict do nothing;
  if found and p_from_now then
    insert into eventsourcing.projections (tenant_id, projection, version, rebuild, position, head)
    select t.tenant_id, p_projection, p_version, false, log.head, log.head
    from eventsourcing.tenants t
    cross join lateral (
      select coalesce(
        (select e.position from eventsourcing.events e where e.tenant_id = t.tenant_id order by e.position desc limit 1),
        0) as head
    ) log
    order by 1
    on conflict do nothing;
  end if;
end
$$;

comment on function eventsourcing.register_projection is 'Makes a projection known, so that announcements reach it.';
