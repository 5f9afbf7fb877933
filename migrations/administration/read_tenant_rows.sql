-- Rows of a tenant beside its log, each as the JSON of the contract AdministrationStorage: its command keys after the key
-- p_after with outcomes from position p_from on, its dead letters after the first p_after rows, its progress, the work of its projections
-- and of their rebuilds, its subjects after the subject p_after, or one row if a payload of the p_limit positions from p_from on contains
-- the text p_after.
create or replace function eventsourcing.read_tenant_rows(
  p_access uuid, p_tenant uuid, p_kind text, p_after text, p_limit integer, p_from bigint default 0
)
returns setof jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  moment constant timestamptz := clock_timestamp();
begin
  perform eventsourcing.administer(p_access, p_tenant);
  case p_kind
    when 'commandKeys' then
      return query
        select jsonb_build_object('key', k.key, 'fingerprint', k.fingerprint, 'aggregateType', k.aggregate_type,
          'aggregateId', k.aggregate_id, 'version', k.version, 'position', k.position, 'events', k.events,
          'recordedAt', (extract(epoch from k.recorded_at) * 1000)::bigint,
          'expiresInMillis', ceil(extract(epoch from k.expires_at - moment) * 1000)::bigint)
        from eventsourcing.command_keys k
        where k.tenant_id = p_tenant and k.expires_at > moment and k.position >= p_from and (p_after is null or k.key > p_after)
        order by k.key limit p_limit;
    when 'deadLetters' then
      return query
        select jsonb_build_object('projection', l.projection, 'version', l.version, 'position', l.position,
          'eventId', l.event_id, 'error', l.error, 'attempts', l.attempts,
          'failedAt', (extract(epoch from l.failed_at) * 1000)::bigint,
          'discarded', case when l.discarded_at is not null then jsonb_build_object(
            'at', (extract(epoch from l.discarded_at) * 1000)::bigint, 'reason', l.reason) end)
        from (
          select d.projection, d.version, d.position, d.event_id, d.error, d.attempts, d.failed_at, null::timestamptz as discarded_at,
            null::text as reason
          from eventsourcing.dead_letters d where d.tenant_id = p_tenant and not d.rebuild
          union all
          select d.projection, d.version, d.position, d.event_id, d.error, d.attempts, d.failed_at, d.discarded_at, d.reason
          from eventsourcing.discarded_dead_letters d where d.tenant_id = p_tenant
        ) l
        order by l.projection, l.version, l.position, l.discarded_at nulls first
        offset p_after::integer limit p_limit;
    when 'progress' then
      return query
        select jsonb_build_object('projection', p.projection, 'version', p.version, 'position', p.position, 'parked', p.parked,
          'attempts', p.attempts, 'failedPosition', p.failed_position, 'error', p.error,
          'tables', (select to_jsonb(v.tables) from eventsourcing.projection_versions v
                     where v.projection = p.projection and v.version = p.version))
        from eventsourcing.projections p where p.tenant_id = p_tenant and not p.rebuild
        order by p.projection, p.version limit p_limit;
    when 'work' then
      return query
        select jsonb_build_object('projection', p.projection, 'version', p.version, 'rebuild', p.rebuild, 'position', p.position,
          'parked', p.parked, 'attempts', p.attempts, 'failedPosition', p.failed_position, 'error', p.error,
          'failureKind', p.failure_kind, 'retryInMillis', (extract(epoch from p.retry_at - moment) * 1000)::bigint,
          'servedMillisAgo', case when p.served_at > '1970-01-01T00:00:00Z'
            then (extract(epoch from moment - p.served_at) * 1000)::bigint end,
          'tables', (select to_jsonb(v.tables) from eventsourcing.projection_versions v
                     where v.projection = p.projection and v.version = p.version))
        from eventsourcing.projections p where p.tenant_id = p_tenant
        order by p.projection, p.version, p.rebuild limit p_limit;
    when 'subjects' then
      return query
        select jsonb_build_object('subject', s.subject, 'number', s.number, 'forgotten', s.forgotten, 'begun', s.begun, 'hold', s.hold)
        from eventsourcing.subjects s
        where s.tenant_id = p_tenant and (p_after is null or s.subject > p_after)
        order by s.subject limit p_limit;
    when 'payloadsWith' then
      return query
        select to_jsonb(true) where exists (
          select from eventsourcing.events e
          where e.tenant_id = p_tenant and e.position >= p_from and e.position < p_from + p_limit
            and strpos(e.payload::text, p_after) > 0);
    else
      raise exception 'unknown rows %', p_kind using errcode = '22023';
  end case;
end
$$;

comment on function eventsourcing.read_tenant_rows is 'Rows of a tenant beside its log, for its administration.';
