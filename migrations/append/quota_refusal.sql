-- The refusal of an append by the quota of its tenant; NULL if the quota allows it. append calls it under the tenant's lock, for an
-- append that is about to be written. There is no counter, so it is exact in any number of processes: the last position is the number
-- of events, and the rate follows from the recorded time of the event that many positions ago.
create or replace function eventsourcing.quota_refusal(
  p_tenant   uuid,
  p_quota    jsonb,       -- limits, or the plan that has them
  p_position bigint,      -- the position before the append
  p_events   integer,     -- number of its events, at least 1
  p_bytes    integer,     -- payload and metadata of its largest event
  p_time     timestamptz  -- its recorded time, and that of the events before it that are not stored yet
)
returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
-- by the index, as in load_streams
set enable_seqscan = off set enable_bitmapscan = off
as $$
declare
  limits   jsonb := p_quota;
  most     bigint;           -- events of the log
  burst    bigint;           -- events in a window
  millis   double precision; -- length of the window
  oldest   timestamptz;      -- recorded time of the last event that must be outside of the window
begin
  if p_quota ? 'plan' then
    limits := (select p.limits from eventsourcing.plans p where p.name = p_quota ->> 'plan');
    if limits is null then
      raise exception 'the plan "%" of the tenant is not defined in this database', p_quota ->> 'plan'
        using hint = 'define it with TenantQuota.definePlan';
    end if;
  end if;
  most := (limits ->> 'events')::bigint;
  burst := (limits -> 'rate' ->> 'events')::bigint;
  millis := (limits -> 'rate' ->> 'windowMillis')::double precision;
  if p_bytes > (limits ->> 'eventBytes')::bigint then
    return jsonb_build_object('kind', 'tooLarge', 'limit', 'eventBytes', 'maximum', limits -> 'eventBytes');
  end if;
  if p_events > least(most, burst) then
    return jsonb_build_object('kind', 'tooLarge', 'limit', 'appendEvents', 'maximum', least(most, burst));
  end if;
  if p_position + p_events > most then
    return jsonb_build_object('kind', 'quotaExceeded', 'quota', 'events', 'maximum', most);
  end if;
  if p_position + p_events > burst then
    oldest := coalesce((
      select e.recorded_at from eventsourcing.events e
      where e.tenant_id = p_tenant and e.position = p_position + p_events - burst), p_time);
    if extract(epoch from p_time - oldest) * 1000 < millis then
      return jsonb_build_object('kind', 'quotaExceeded', 'quota', 'rate', 'maximum', burst, 'windowMillis', millis,
        'retryAfterMillis', greatest(ceil(millis - extract(epoch from clock_timestamp() - oldest) * 1000), 1));
    end if;
  end if;
  return null;
end
$$;

comment on function eventsourcing.quota_refusal is 'The refusal of an append by the quota of its tenant; NULL if the quota allows it.';
