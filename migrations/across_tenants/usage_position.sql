
-- The first position of a tenant's log that was recorded at or after p_time, at most p_head + 1. Like position_at, but under a
-- recorded access, because readers across tenants are bound to none.
create or replace function eventsourcing.usage_position(p_tenant uuid, p_head bigint, p_time timestamptz)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
declare
  low    bigint := 1;
  high   bigint := p_head + 1;
  middle bigint;
begin
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

comment on function eventsourcing.usage_position is 'First position of a tenant''s log recorded at or after a time.';
