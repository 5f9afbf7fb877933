-- Changes a subject of a tenant under the lock of the tenant's row: begin, forget, end, allow, hold, release. Returns {"subject": the
-- subject afterwards}, or {"problem": sentence} or {"held": hold}, and has changed nothing then.
create or replace function eventsourcing.change_subject(
  p_access uuid, p_tenant uuid, p_subject text, p_change text, p_given jsonb
)
returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  known  record;
  before eventsourcing.subjects;
begin
  perform eventsourcing.administer(p_access, p_tenant);
  select t.status, t.forgotten_subjects + 1 as next into known
  from eventsourcing.tenants t where t.tenant_id = p_tenant for no key update;
  if known.status is null then
    return jsonb_build_object('problem', 'the tenant is not registered here: provision it first');
  elsif known.status not in ('active', 'suspended') then
    return jsonb_build_object('problem',
      format('the tenant is %s: subjects of an active or suspended tenant can be changed', known.status));
  end if;
  insert into eventsourcing.subjects (tenant_id, subject) values (p_tenant, p_subject) on conflict do nothing;
  select * into before from eventsourcing.subjects s where s.tenant_id = p_tenant and s.subject = p_subject;
  case p_change
    when 'begin' then
      if before.hold is not null then
        return jsonb_build_object('held', before.hold);
      end if;
      if before.forgotten ->> 'forgetting' is distinct from p_given ->> 'forgetting' then
        update eventsourcing.subjects s set begun = case
          when s.begun is null or s.begun::text = s.forgotten ->> 'forgetting' then (p_given ->> 'forgetting')::uuid else s.begun end
        where s.tenant_id = p_tenant and s.subject = p_subject;
      end if;
    when 'forget' then
      if before.forgotten ->> 'forgetting' is distinct from p_given ->> 'forgetting' then
        update eventsourcing.tenants t set forgotten_subjects = known.next where t.tenant_id = p_tenant;
        update eventsourcing.subjects s set begun = (p_given ->> 'forgetting')::uuid, number = known.next, forgotten = jsonb_build_object(
          'forgetting', p_given -> 'forgetting', 'forgottenAt', p_given -> 'forgottenAt', 'actor', p_given -> 'actor',
          'reason', p_given -> 'reason')
        where s.tenant_id = p_tenant and s.subject = p_subject;
      end if;
    when 'end' then
      update eventsourcing.subjects s set begun = null
      where s.tenant_id = p_tenant and s.subject = p_subject and s.begun = (p_given ->> 'forgetting')::uuid;
    when 'allow' then
      update eventsourcing.subjects s
      set forgotten = s.forgotten || jsonb_build_object('allowedAgainAt', p_given -> 'allowedAt')
      where s.tenant_id = p_tenant and s.subject = p_subject and s.forgotten is not null and not s.forgotten ? 'allowedAgainAt';
    when 'hold' then
      if before.begun is not null then
        return jsonb_build_object('problem', 'the subject is being forgotten: end that first');
      end if;
      update eventsourcing.subjects s set hold = jsonb_build_object(
        'actor', (select a.actor from eventsourcing.recorded_access(p_access) a), 'reason', p_given -> 'reason',
        'heldAt', (extract(epoch from clock_timestamp()) * 1000)::bigint)
      where s.tenant_id = p_tenant and s.subject = p_subject;
    when 'release' then
      update eventsourcing.subjects s set hold = null where s.tenant_id = p_tenant and s.subject = p_subject;
    else
      raise exception 'unknown change %', p_change using errcode = '22023';
  end case;
  return jsonb_build_object('subject', (
    select jsonb_build_object('subject', s.subject, 'number', s.number, 'forgotten', s.forgotten, 'begun', s.begun, 'hold', s.hold)
    from eventsourcing.subjects s where s.tenant_id = p_tenant and s.subject = p_subject));
end
$$;

comment on function eventsourcing.change_subject is 'Forgets, allows, holds or releases a subject of a tenant, under the tenant''s lock.';
