-- Removes at most p_limit expired command keys of all tenants: an append removes only those of its own tenant. Looks into the
-- index once per tenant. Keys that an append is just removing are skipped.
create or replace function eventsourcing.remove_expired_keys(p_limit integer)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  moment  constant timestamptz := clock_timestamp();
  removed integer;
begin
  -- Materialized, because a join could repeat the subquery for each key of the table.
  with expired as materialized (
    select k.tenant_id, k.key from eventsourcing.tenants t
    join lateral (
      select x.tenant_id, x.key from eventsourcing.command_keys x
      where x.tenant_id = t.tenant_id and x.expires_at <= moment
      for update skip locked
    ) k on true
    limit p_limit
  )
  delete from eventsourcing.command_keys c using expired
  where c.tenant_id = expired.tenant_id and c.key = expired.key;
  get diagnostics removed = row_count;
  return removed;
end
$$;

comment on function eventsourcing.remove_expired_keys is 'Removes expired command keys of all tenants; returns their number.';
