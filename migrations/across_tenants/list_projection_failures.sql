-- The causes of failures of a projection for a tenant, the latest first.
create or replace function eventsourcing.list_projection_failures(
  p_access uuid, p_tenant uuid, p_projection text, p_version integer
)
returns table (
  rebuild boolean, "position" double precision, kind text, code text, message text, stack text, times integer,
  first_at timestamptz, last_at timestamptz
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
#variable_conflict use_column
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  return query
    select f.rebuild, f.position::double precision, f.kind, f.code, f.message, f.stack, f.times, f.first_at, f.last_at
    from eventsourcing.projection_failures f
    where f.tenant_id = p_tenant and f.projection = p_projection and f.version = p_version
    order by f.last_at desc, f.rebuild, f.position desc;
end
$$;

comment on function eventsourcing.list_projection_failures is 'The causes of failures of a projection for a tenant, for operators.';
