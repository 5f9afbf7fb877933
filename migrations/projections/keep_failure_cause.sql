-- Keeps the cause of a failure for operators; work for a tenant may not read it. The last 100 failed positions of a projection
-- and tenant are kept.
create or replace function eventsourcing.keep_failure_cause(
  p_tenant uuid, p_projection text, p_version integer, p_rebuild boolean, p_position bigint, p_kind text, p_code text,
  p_message text, p_stack text
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  insert into eventsourcing.projection_failures as f
    (tenant_id, projection, version, rebuild, position, kind, code, message, stack, times, first_at, last_at)
  values (p_tenant, p_projection, p_version, p_rebuild, p_position, p_kind, left(p_code, 100), left(p_message, 4000),
    left(p_stack, 10000), 1, clock_timestamp(), clock_timestamp())
  on conflict (tenant_id, projection, version, rebuild, position) do update
    set kind = p_kind, code = left(p_code, 100), message = left(p_message, 4000), stack = left(p_stack, 10000),
      times = f.times + 1, last_at = clock_timestamp();
  delete from eventsourcing.projection_failures f
  where f.tenant_id = p_tenant and f.projection = p_projection and f.version = p_version and f.rebuild = p_rebuild
    and f.position in (
      select o.position from eventsourcing.projection_failures o
      where o.tenant_id = p_tenant and o.projection = p_projection and o.version = p_version and o.rebuild = p_rebuild
      order by o.last_at desc, o.position desc offset 100);
end
$$;

comment on function eventsourcing.keep_failure_cause is 'Keeps the cause of a projection''s failure, for operators.';
