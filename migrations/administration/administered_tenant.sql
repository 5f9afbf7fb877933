-- A tenant with its state and the end of its log, as JSON; NULL if it is not registered. Times are in milliseconds since 1970.
create or replace function eventsourcing.administered_tenant(p_access uuid, p_tenant uuid)
returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  perform eventsourcing.administer(p_access, p_tenant);
  return (
    select jsonb_build_object(
      'status', t.status, 'undertaking', t.undertaking, 'hold', t.hold, 'chainedFrom', t.chained_from,
      'origin', t.origin, 'quota', t.quota, 'forgotten', t.forgotten_subjects,
      'createdAt', (extract(epoch from t.created_at) * 1000)::bigint,
      'now', (extract(epoch from clock_timestamp()) * 1000)::bigint,
      'position', coalesce(e.position, 0), 'lastEventId', e.event_id, 'lastHash', encode(e.hash, 'hex'))
    from eventsourcing.tenants t
    left join lateral (
      select x.position, x.event_id, x.hash from eventsourcing.events x
      where x.tenant_id = t.tenant_id order by x.position desc limit 1
    ) e on true
    where t.tenant_id = p_tenant);
end
$$;

comment on function eventsourcing.administered_tenant is 'A tenant with its state and the end of its log, for its administration.';
