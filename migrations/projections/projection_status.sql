-- The progress of a projection for the tenant; no row if it has never worked for the tenant.
create or replace function eventsourcing.projection_status(p_tenant uuid, p_projection text, p_version integer)
returns table (
  rebuild boolean, "position" double precision, head double precision, parked boolean, attempts integer,
  failed_position double precision, error text, failure_kind text, retry_at timestamptz,
  oldest_unprocessed timestamptz, shared boolean, rebuilt integer
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
#variable_conflict use_column
begin
  perform eventsourcing.bind_tenant(p_tenant);
  return query
    select p.rebuild, p.position::double precision,
      coalesce((select e.position from eventsourcing.events e where e.tenant_id = p_tenant
                order by e.position desc limit 1), 0)::double precision,
      p.parked, p.attempts, p.failed_position::double precision, p.error, p.failure_kind, p.retry_at,
      (select e.recorded_at from eventsourcing.events e where e.tenant_id = p_tenant and e.position = p.position + 1),
      p.shared, p.rebuilt
    from eventsourcing.projections p
    where p.tenant_id = p_tenant and p.projection = p_projection and p.version = p_version;
end
$$;

comment on function eventsourcing.projection_status is 'Progress, head and last failure of a projection for the tenant.';
