-- The status of the tenant. If a move has not decided in time, its fence is removed first.
create or replace function eventsourcing.tenant_status(p_tenant uuid)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
declare
  known record;
begin
  perform eventsourcing.bind_tenant(p_tenant);
  select t.status, (t.undertaking ->> 'until')::bigint as until into known from eventsourcing.tenants t where t.tenant_id = p_tenant;
  if known.status = 'moving' and known.until <= extract(epoch from clock_timestamp()) * 1000
    and current_setting('transaction_read_only') = 'off'
  then
    return eventsourcing.end_expired_move(p_tenant);
  end if;
  return known.status;
end
$$;

comment on function eventsourcing.tenant_status is
  'active, suspended, moving, importing, moved, erased, elsewhere (it has another database), or NULL for an unknown tenant.';
