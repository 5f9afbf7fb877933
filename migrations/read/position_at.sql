-- The first position of the tenant's log that was recorded at or after p_time; one past the end if there is none. A binary
-- search by the primary key is enough, because positions have no gaps and recorded_at never decreases.
create or replace function eventsourcing.position_at(p_tenant uuid, p_time timestamptz)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
declare
  low    bigint := 1;
  high   bigint;
  middle bigint;
begin
  perform eventsourcing.bind_tenant(p_tenant);
  high := coalesce(
    (select e.position from eventsourcing.events e where e.tenant_id = p_tenant order by e.position desc limit 1), 0) + 1;
  while low < high loop
    middle := (low + high) / 2;
    if (select e.recorded_at from eventsourcing.events e where e.tenant_id = p_tenant and e.position = middle) >= p_time then
      high := middle;
    else
      low := middle + 1;
    end if;
  end loop;
  return low;
end
$$;

comment on function eventsourcing.position_at is 'First position of the tenant''s log recorded at or after a time.';
