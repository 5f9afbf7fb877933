-- Starts a transaction that reads much of a tenant's log with statements of the client: like begin_tenant, with the settings
-- of the functions for reading. Returns the head of the log.
create or replace function eventsourcing.begin_reading(p_tenant uuid)
returns double precision
language plpgsql
as $$
declare
  setting pg_catalog.text; -- assigned, because a PERFORM would take longer
begin
  setting := eventsourcing.begin_tenant(p_tenant);
  -- always by the index, because a sort sends nothing before its end
  setting := pg_catalog.set_config('enable_sort', 'off', true);
  setting := pg_catalog.set_config('enable_seqscan', 'off', true);
  setting := pg_catalog.set_config('enable_bitmapscan', 'off', true);
  setting := pg_catalog.set_config('max_parallel_workers_per_gather', '0', true);
  setting := pg_catalog.set_config('jit', 'off', true);
  return (select h."position" from eventsourcing.log_head(p_tenant, null) h);
end
$$;

comment on function eventsourcing.begin_reading(uuid) is
  'First statement of a transaction that reads a tenant''s log with stream_log; returns the head of the log.';
