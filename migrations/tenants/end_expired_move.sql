-- Removes the fence of a move that has not decided in time: moving becomes active. Everybody who finds an expired fence may do so,
-- because the row's lock excludes the decision. Returns the status.
create or replace function eventsourcing.end_expired_move(p_tenant uuid)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  known record;
begin
  perform eventsourcing.bind_tenant(p_tenant);
  select t.status, (t.undertaking ->> 'until')::bigint as until into known
  from eventsourcing.tenants t where t.tenant_id = p_tenant for no key update;
  if known.status = 'moving' and known.until <= extract(epoch from clock_timestamp()) * 1000 then
    update eventsourcing.tenants t set status = 'active',
      undertaking = nullif(jsonb_strip_nulls(jsonb_build_object(
        'calledOff', t.undertaking -> 'calledOff', 'run', t.undertaking -> 'run')), '{}')
    where t.tenant_id = p_tenant;
    return 'active';
  end if;
  return known.status;
end
$$;

comment on function eventsourcing.end_expired_move is 'Removes the expired fence of a move; returns the status of the tenant.';
