-- The tenant's number of forgotten subjects, and those with a higher number than p_after, ordered by number, as JSON. One row.
create or replace function eventsourcing.forgotten_subjects(p_tenant uuid, p_after integer, out forgotten integer, out subjects jsonb)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  perform eventsourcing.require_visible(p_tenant);
  forgotten := coalesce((select t.forgotten_subjects from eventsourcing.tenants t where t.tenant_id = p_tenant), 0);
  subjects := (
    select coalesce(jsonb_agg(jsonb_build_object('number', s.number, 'subject', s.subject,
      'forgetting', s.forgotten -> 'forgetting', 'forgottenAt', s.forgotten -> 'forgottenAt',
      'allowedAgainAt', s.forgotten -> 'allowedAgainAt',
      'ended', s.begun is distinct from (s.forgotten ->> 'forgetting')::uuid) order by s.number), '[]')
    -- a later forgetting belongs to a later answer
    from eventsourcing.subjects s where s.tenant_id = p_tenant and s.number > p_after and s.number <= forgotten_subjects.forgotten);
end
$$;

comment on function eventsourcing.forgotten_subjects is 'The number of forgotten subjects of the tenant, and those after a number.';
