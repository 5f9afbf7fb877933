-- Writes rows of an import beside the log: command keys, dead letters (in place of all that the tenant has), progress, or subjects.
-- Returns NULL, or the reason why it has written nothing.
create or replace function eventsourcing.write_tenant_rows(
  p_access uuid, p_tenant uuid, p_token uuid, p_kind text, p_rows jsonb
)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  refused constant text := eventsourcing.tenant_under_import(p_access, p_tenant, p_token);
  moment  constant timestamptz := clock_timestamp();
begin
  if refused is not null then
    return refused;
  end if;
  case p_kind
    when 'commandKeys' then
      insert into eventsourcing.command_keys (
        tenant_id, key, fingerprint, aggregate_type, aggregate_id, version, position, events, recorded_at, expires_at
      )
      select p_tenant, r.key, r.fingerprint, r."aggregateType", r."aggregateId", r.version, r.position, r.events,
        to_timestamp(r."recordedAt" / 1000.0), moment + r."expiresInMillis" * interval '1 millisecond'
      from jsonb_to_recordset(p_rows) r (key text, fingerprint text, "aggregateType" text, "aggregateId" text, version integer,
        position bigint, events integer, "recordedAt" bigint, "expiresInMillis" double precision)
      on conflict (tenant_id, key) do update set
        fingerprint = excluded.fingerprint, aggregate_type = excluded.aggregate_type, aggregate_id = excluded.aggregate_id,
        version = excluded.version, position = excluded.position, events = excluded.events,
        recorded_at = excluded.recorded_at, expires_at = excluded.expires_at;
    when 'deadLetters' then
      delete from eventsourcing.dead_letters d where d.tenant_id = p_tenant;
      delete from eventsourcing.discarded_dead_letters d where d.tenant_id = p_tenant;
      with letters as (
        select * from jsonb_to_recordset(p_rows) r (projection text, version integer, position bigint, "eventId" uuid, error text,
          attempts integer, "failedAt" bigint, discarded jsonb)
      ), live as (
        insert into eventsourcing.dead_letters (
          tenant_id, projection, version, rebuild, position, event_id, error, attempts, failed_at)
        select p_tenant, r.projection, r.version, false, r.position, r."eventId", r.error, r.attempts,
          to_timestamp(r."failedAt" / 1000.0)
        from letters r where r.discarded is null
      )
      insert into eventsourcing.discarded_dead_letters (
        tenant_id, projection, version, position, event_id, error, attempts, failed_at, discarded_at, reason)
      select p_tenant, r.projection, r.version, r.position, r."eventId", r.error, r.attempts,
        to_timestamp(r."failedAt" / 1000.0), to_timestamp((r.discarded ->> 'at')::bigint / 1000.0), r.discarded ->> 'reason'
      from letters r where r.discarded is not null;
    when 'progress' then
      insert into eventsourcing.projections as p (
        tenant_id, projection, version, rebuild, position, head, parked, attempts, failed_position, error
      )
      select p_tenant, r.projection, r.version, false, r.position, h.position, r.parked, r.attempts, r."failedPosition", r.error
      from jsonb_to_recordset(p_rows) r (projection text, version integer, position bigint, parked boolean, attempts integer,
        "failedPosition" bigint, error text)
      cross join (select coalesce(max(e.position), 0) as position from eventsourcing.events e where e.tenant_id = p_tenant) h
      on conflict (tenant_id, projection, version, rebuild) do update set
        position = excluded.position, head = excluded.head, parked = excluded.parked, attempts = excluded.attempts,
        failed_position = excluded.failed_position, error = excluded.error, failure_kind = null, waited_ms = 0, retry_at = null;
    when 'subjects' then
      -- one row with the number, and one for each subject
      update eventsourcing.tenants t set forgotten_subjects = (p_rows -> 0 -> 'forgotten')::integer where t.tenant_id = p_tenant;
      insert into eventsourcing.subjects (tenant_id, subject, number, forgotten, begun, hold)
      select p_tenant, r.subject, r.number, r.forgotten, r.begun, r.hold
      from jsonb_to_recordset(p_rows - 0) r (subject text, number integer, forgotten jsonb, begun uuid, hold jsonb)
      on conflict (tenant_id, subject) do update set
        number = excluded.number, forgotten = excluded.forgotten, begun = excluded.begun, hold = excluded.hold;
    else
      raise exception 'unknown rows %', p_kind using errcode = '22023';
  end case;
  return null;
end
$$;

comment on function eventsourcing.write_tenant_rows is 'Writes rows of an import beside the log.';
