-- Changes the state of a tenant under the lock of its row, which every append holds: see the contract AdministrationStorage for
-- the changes. Returns NULL, or {"problem": sentence}, {"held": hold} or {"heldSubjects": [the first 10]}, and has changed nothing then.
create or replace function eventsourcing.change_tenant_state(
  p_access uuid, p_tenant uuid, p_change text, p_token uuid, p_arguments jsonb
)
returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  known    record;
  head     record;
  moment   bigint;
  wanted   text;        -- the new status; NULL: nothing changes
  details  jsonb;       -- the new undertaking
  chained  bigint;
  problem  text;
  move     jsonb := p_arguments -> 'move'; -- an object, or the id of the move that is called off
  another  constant text := 'another undertaking has the tenant: its token differs';
  replaced constant text := 'another run has taken the move over';
  lasting  jsonb;       -- what stays on the row while the tenant is active or fenced
begin
  perform eventsourcing.administer(p_access, p_tenant);
  if p_change = 'fence' then
    perform set_config('lock_timeout', greatest((p_arguments ->> 'waitMillis')::integer, 1)::text, true);
  end if;
  if p_change in ('fence', 'erase') then
    -- Handlers end first. Progress rows before the tenant's row: a handler that appends holds its progress row and waits for the
    -- tenant's.
    perform from eventsourcing.projections p where p.tenant_id = p_tenant order by p.projection, p.version, p.rebuild for update;
  elsif p_change = 'beginImport' then
    insert into eventsourcing.tenants (tenant_id, status, undertaking)
    values (p_tenant, 'importing', jsonb_build_object('token', p_token))
    on conflict do nothing;
  end if;
  select t.status, coalesce(t.undertaking, '{}') as undertaking, t.undertaking ->> 'token' as token, t.undertaking -> 'run' as run, t.hold, t.chained_from
  into known from eventsourcing.tenants t where t.tenant_id = p_tenant for no key update;
  if known.status is null then
    return jsonb_build_object('problem', 'the tenant is not registered here');
  end if;
  -- statements of their own, so that they see the commit of the previous holder of the lock
  moment := (extract(epoch from clock_timestamp()) * 1000)::bigint;
  select coalesce(max(e.position), 0) as position, (array_agg(encode(e.hash, 'hex')))[1] as hash into head
  from (
    select x.position, x.hash from eventsourcing.events x where x.tenant_id = p_tenant order by x.position desc limit 1
  ) e;
  chained := known.chained_from;
  details := known.undertaking;
  lasting := jsonb_strip_nulls(jsonb_build_object('calledOff', known.undertaking -> 'calledOff', 'run', known.run));
  if p_change = 'beginImport' and move is not null then
    move := move - 'leaseMillis' || jsonb_build_object('until', moment + (move ->> 'leaseMillis')::bigint);
  end if;

  case p_change
    when 'beginImport' then
      if known.status = 'importing' then
        if known.token <> p_token::text and known.undertaking -> 'move' -> 'id' is distinct from move -> 'id' then
          problem := 'another import writes the tenant: end or purge that one first';
        elsif known.token <> p_token::text and (known.undertaking -> 'move' ->> 'until')::bigint > moment then
          problem := 'another process carries out the move, and its lease has not expired';
        elsif known.token <> p_token::text and move is null then
          problem := 'another import writes the tenant: end or purge that one first';
        elsif move is not null then
          wanted := 'importing';
          details := jsonb_build_object('token', p_token, 'move', move);
        end if;
      elsif known.status = 'moved' and known.undertaking -> 'purged' = 'true' then
        wanted := 'importing';
        details := jsonb_strip_nulls(jsonb_build_object('token', p_token, 'move', move));
        chained := null;
      else
        problem := format('the tenant is %s, and an import writes only a tenant that is not registered%s', known.status,
          case known.status when 'moved' then ', or whose rows were purged after a move: purge them first' else '' end);
      end if;
    when 'renewLease' then
      if known.status <> 'importing' or known.undertaking -> 'move' is null then
        problem := format('the tenant is %s, and no move imports it', known.status);
      elsif known.token <> p_token::text then
        problem := another;
      else
        wanted := 'importing';
        details := jsonb_set(known.undertaking, '{move,until}', to_jsonb(moment + (p_arguments ->> 'leaseMillis')::bigint));
      end if;
    when 'finishImport' then
      if known.status in ('active', 'suspended') and known.token = p_token::text then
        null; -- finished before
      elsif known.status <> 'importing' then
        problem := format('the tenant is %s, not importing', known.status);
      elsif known.token <> p_token::text then
        problem := another;
      elsif head.position <> (p_arguments ->> 'head')::bigint then
        problem := format('its log ends at %s, not at %s', head.position, p_arguments ->> 'head');
      else
        wanted := p_arguments ->> 'status';
        chained := (p_arguments ->> 'chainedFrom')::bigint;
      end if;
    when 'takeOver' then
      if known.undertaking -> 'calledOff' @> jsonb_build_array(move) then
        problem := 'the move was called off';
      elsif known.status = 'moved' and known.undertaking -> 'move' = move then
        null; -- decided
      elsif known.status not in ('active', 'moving') then
        problem := format('the tenant is %s, and only an active tenant moves', known.status);
      elsif known.status = 'moving' and known.undertaking -> 'move' -> 'id' is distinct from move
        and (known.undertaking ->> 'until')::bigint > moment
      then
        problem := another;
      elsif known.run ->> 'token' is distinct from p_arguments ->> 'former' then
        problem := replaced;
      else
        wanted := 'active';
        details := lasting || jsonb_build_object('run', jsonb_build_object('move', move, 'token', p_token));
      end if;
    when 'fence' then
      if known.undertaking -> 'calledOff' @> jsonb_build_array(move -> 'id') then
        problem := 'the move was called off';
      elsif known.status = 'moving' and known.token <> p_token::text then
        problem := another;
      elsif known.status not in ('active', 'moving') then
        problem := format('the tenant is %s, and only an active tenant moves', known.status);
      elsif move is not null and known.run ->> 'token' <> p_token::text then
        problem := replaced;
      else
        wanted := 'moving';
        details := lasting || jsonb_strip_nulls(jsonb_build_object('token', p_token, 'head', head.position, 'move', move,
          'until', moment + (p_arguments ->> 'expiresInMillis')::bigint));
      end if;
    when 'reopen' then
      if known.status = 'active' then
        null; -- reopened before
      elsif known.status <> 'moving' then
        problem := format('the tenant is %s, not moving', known.status);
      elsif p_token is not null and known.token <> p_token::text then
        problem := another;
      elsif p_token is null and (known.undertaking ->> 'until')::bigint > moment then
        problem := 'the fence has not expired: only the move itself may remove it now';
      else
        wanted := 'active';
        details := lasting;
      end if;
    when 'callOff' then
      if known.status = 'moved' and known.undertaking -> 'move' = move then
        problem := 'the move is decided: it leads only forward';
      elsif known.run -> 'move' = move and known.run ->> 'token' <> p_token::text
        and not coalesce(known.undertaking -> 'calledOff' @> jsonb_build_array(move), false)
      then
        problem := replaced;
      else
        wanted := known.status;
        details := known.undertaking;
        if known.status = 'moving' and known.undertaking -> 'move' -> 'id' = move then
          wanted := 'active';
          details := lasting;
        end if;
        if not coalesce(details -> 'calledOff' @> jsonb_build_array(move), false) then
          details := details || jsonb_build_object('calledOff', (
            select jsonb_agg(c.id order by c.n) from (
              select c.id, c.n from jsonb_array_elements(coalesce(details -> 'calledOff', '[]') || jsonb_build_array(move))
                with ordinality c (id, n)
              order by c.n desc limit 16
            ) c));
        end if;
      end if;
    when 'decide' then
      if known.status = 'moved' and known.token = p_token::text then
        null; -- decided before
      elsif known.status <> 'moving' then
        problem := format('the tenant is %s, not moving: the move is off', known.status);
      elsif known.token <> p_token::text then
        problem := another;
      elsif head.position <> (p_arguments ->> 'head')::bigint then
        problem := format('its log ends at %s, not at %s', head.position, p_arguments ->> 'head');
      else
        wanted := 'moved';
        details := jsonb_strip_nulls(jsonb_build_object('token', p_token, 'head', head.position, 'to', p_arguments ->> 'to',
          'move', known.undertaking -> 'move' -> 'id', 'at', moment));
      end if;
    when 'erase' then
      if known.status = 'erased' then
        problem := case when known.token <> p_token::text then 'the tenant is erased already' end;
      elsif known.status not in ('active', 'suspended', 'moved') then
        problem := format('the tenant is %s: end that first', known.status);
      elsif known.hold is not null then
        return jsonb_build_object('held', known.hold);
      elsif known.status <> 'moved' and not coalesce((p_arguments ->> 'heldSubjects')::boolean, false)
        and exists (select from eventsourcing.subjects s where s.tenant_id = p_tenant and s.hold is not null) then
        return jsonb_build_object('heldSubjects', (
          select jsonb_agg(jsonb_build_object('subject', h.subject, 'actor', h.hold -> 'actor', 'reason', h.hold -> 'reason') order by h.subject)
          from (
            select s.subject, s.hold from eventsourcing.subjects s
            where s.tenant_id = p_tenant and s.hold is not null order by s.subject limit 10
          ) h));
      else
        wanted := 'erased';
        details := (
          select jsonb_build_object('token', p_token, 'former', known.status, 'formerly', known.undertaking, 'erasedAt', moment,
            'access', p_access, 'actor', a.actor, 'reason', a.reason, 'events', head.position, 'lastHash', head.hash,
            'purgeFrom', moment + (p_arguments ->> 'purgeInMillis')::bigint)
          from eventsourcing.recorded_access(p_access) a);
      end if;
    when 'restore' then
      if known.status in ('active', 'suspended', 'moved') then
        problem := case when known.undertaking ->> 'restored' is distinct from p_token::text then 'the tenant is not erased' end;
      elsif known.status <> 'erased' then
        problem := format('the tenant is %s, not erased', known.status);
      elsif known.token <> p_token::text then
        problem := another;
      elsif known.undertaking -> 'purging' = 'true' then
        problem := 'some of its rows are gone: it cannot be restored';
      else
        wanted := known.undertaking ->> 'former';
        details := (known.undertaking -> 'formerly') || jsonb_build_object('restored', p_token);
      end if;
    else
      raise exception 'unknown change %', p_change using errcode = '22023';
  end case;

  if problem is not null then
    return jsonb_build_object('problem', problem);
  end if;
  if wanted is not null then
    update eventsourcing.tenants t set status = wanted, undertaking = nullif(details, '{}'), chained_from = chained,
      origin = case p_change when 'finishImport' then p_arguments -> 'origin' when 'beginImport' then null else t.origin end,
      hold = case when p_change = 'finishImport' then coalesce(p_arguments -> 'hold', t.hold)
        when p_change = 'beginImport' and known.status = 'moved' then null else t.hold end,
      quota = case when p_change = 'finishImport' then coalesce(p_arguments -> 'quota', t.quota) else t.quota end
    where t.tenant_id = p_tenant;
  end if;
  return null;
end
$$;

comment on function eventsourcing.change_tenant_state is 'Changes the state of a tenant under its lock, or returns the reason against it.';
