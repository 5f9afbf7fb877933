-- Removes records of accesses across tenants that are older than p_seconds, at least seven days, and records the removal.
-- Programs record their accesses again every day, so none that is in use is removed.
create or replace function eventsourcing.remove_old_accesses(p_seconds double precision)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  moment  constant timestamptz := clock_timestamp();
  removed integer;
begin
  if p_seconds is null or p_seconds < 604800 then
    raise exception 'records of accesses across tenants must be kept for at least seven days' using errcode = '22023';
  end if;
  delete from eventsourcing.cross_tenant_accesses a where a.accessed_at < moment - p_seconds * interval '1 second';
  get diagnostics removed = row_count;
  if removed > 0 then
    insert into eventsourcing.cross_tenant_accesses (access_id, actor, reason, operation, login)
    -- a UUID of version 7, because the trail is in the order of ids
    select (lpad(to_hex((extract(epoch from moment) * 1000)::bigint), 12, '0') || '7' || substr(r.hex, 1, 3) || '8'
        || substr(r.hex, 4, 15))::uuid,
      'eventsourcing', format('kept for %s days', round((p_seconds / 86400)::numeric, 1)),
      format('remove %s accesses', removed), session_user
    from (select md5(random()::text || clock_timestamp()::text)) r (hex);
  end if;
  return removed;
end
$$;

comment on function eventsourcing.remove_old_accesses is 'Removes old records of accesses across tenants and records the removal; returns their number.';
