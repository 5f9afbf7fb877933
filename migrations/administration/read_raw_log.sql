-- Events of a tenant's log in any state of the tenant, in chunks as read_log returns them.
create or replace function eventsourcing.read_raw_log(
  p_access uuid, p_tenant uuid, p_from bigint, p_to bigint, p_limit integer, p_max_bytes bigint
)
returns setof eventsourcing.event_chunk
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.administer(p_access, p_tenant);
  return query select * from eventsourcing.read_log(
    p_tenant, p_from, p_to, null, null, null, null, null, false, p_limit, p_max_bytes);
end
$$;

comment on function eventsourcing.read_raw_log is 'One page of a tenant''s log, for its administration.';
