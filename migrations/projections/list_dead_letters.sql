-- Dead letters after p_after, by position.
create or replace function eventsourcing.list_dead_letters(
  p_tenant uuid, p_projection text, p_version integer, p_after bigint, p_limit integer
)
returns table ("position" double precision, event_id uuid, error text, attempts integer, failed_at timestamptz)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
#variable_conflict use_column
begin
  perform eventsourcing.bind_tenant(p_tenant);
  return query
    select d.position::double precision, d.event_id, d.error, d.attempts, d.failed_at
    from eventsourcing.dead_letters d
    where d.tenant_id = p_tenant and d.projection = p_projection and d.version = p_version and not d.rebuild
      and d.position > p_after
    order by d.position
    limit p_limit;
end
$$;

comment on function eventsourcing.list_dead_letters is 'One page of the dead letters of a projection and tenant.';
