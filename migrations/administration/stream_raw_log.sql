-- Events of a tenant's log in any state of the tenant, from p_from to p_to, in chunks as stream_log returns them: those of a chunk with
-- a large event have no payloads, and read_raw_log returns them. Ends early with the chunk that brings the payloads to p_max_bytes; a
-- last chunk without events tells so.
create or replace function eventsourcing.stream_raw_log(
  p_access uuid, p_tenant uuid, p_from bigint, p_to bigint, p_max_bytes bigint
)
returns setof eventsourcing.event_chunk
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
-- as in begin_reading
set enable_sort = off set enable_seqscan = off set enable_bitmapscan = off
as $$
declare
  chunk eventsourcing.event_chunk;
  total bigint := 0;
begin
  perform eventsourcing.administer(p_access, p_tenant);
  for chunk in select c.* from eventsourcing.stream_log(p_tenant, p_from, p_to, null, null) c loop
    return next chunk;
    total := total + coalesce(octet_length(chunk.payloads), 0);
    if total >= p_max_bytes then
      chunk := null;
      chunk.events := 0;
      return next chunk;
      exit;
    end if;
  end loop;
end
$$;

comment on function eventsourcing.stream_raw_log is 'One page of a tenant''s log without large events, for its administration.';
