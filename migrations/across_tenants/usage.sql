-- Numbers of events, bytes and streams per tenant and day (UTC) in the range of recorded times from p_from (inclusive) to
-- p_before (exclusive), after (p_after_tenant, p_after_day), ordered by tenant and day. Reads the head of each tenant's log, makes
-- two binary searches per day with events, and reads the events of these days by the primary key. A page ends after p_limit
-- days, or with the day that brings its events to 250,000. more is true if further days follow.
create or replace function eventsourcing.usage(
  p_access uuid, p_from timestamptz, p_before timestamptz, p_after_tenant uuid, p_after_day timestamptz, p_limit integer
)
returns table (
  tenant_id uuid, day timestamptz, events double precision, bytes double precision, streams double precision,
  new_streams double precision, more boolean
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_tenant    uuid;
  v_head      bigint;
  v_head_time timestamptz;
  v_first     bigint;
  v_next      bigint;
  v_time      timestamptz;
  found_days  integer := 0;
  read_events bigint := 0;
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  for v_tenant in
    select t.tenant_id from eventsourcing.tenants t
    where t.tenant_id >= coalesce(p_after_tenant, '00000000-0000-0000-0000-000000000000')
      and t.status not in ('importing', 'moved', 'erased')
    order by t.tenant_id
  loop
    v_time := p_from;
    if v_tenant = p_after_tenant then
      v_time := greatest(v_time, p_after_day + interval '24 hours');
    end if;
    v_head := null;
    select e.position, e.recorded_at into v_head, v_head_time from eventsourcing.events e
    where e.tenant_id = v_tenant order by e.position desc limit 1;
    continue when v_head is null or v_head_time < v_time;
    v_first := eventsourcing.usage_position(v_tenant, v_head, v_time);
    while v_first <= v_head loop
      v_time := (
        select e.recorded_at from eventsourcing.events e where e.tenant_id = v_tenant and e.position = v_first);
      exit when v_time >= p_before;
      -- the previous day is returned only now, because now it is known not to be the last one
      if found_days > 0 then
        more := found_days >= p_limit or read_events >= 250000;
        return next;
        if more then
          return;
        end if;
      end if;
      tenant_id := v_tenant;
      day := date_trunc('day', v_time, 'UTC');
      v_next := eventsourcing.usage_position(v_tenant, v_head, least(day + interval '24 hours', p_before));
      -- positions have no gaps
      events := v_next - v_first;
      select sum(e.bytes), count(distinct (e.aggregate_type, e.aggregate_id)), count(*) filter (where e.version = 1)
      into bytes, streams, new_streams
      from eventsourcing.events e where e.tenant_id = v_tenant and e.position between v_first and v_next - 1;
      found_days := found_days + 1;
      read_events := read_events + v_next - v_first;
      v_first := v_next;
    end loop;
  end loop;
  if found_days > 0 then
    more := false;
    return next;
  end if;
end
$$;

comment on function eventsourcing.usage is 'One page of the usage of tenants, by tenant and day.';
