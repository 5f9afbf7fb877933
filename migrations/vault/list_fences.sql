-- The fences of a tenant with higher numbers, in order.
create or replace function eventsourcing_vault.list_fences(p_tenant uuid, p_after integer)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_agg(jsonb_build_object(
    'number', f.number, 'subject', f.subject, 'forgetting', f.forgetting, 'forgottenAt', f.forgotten_at, 'actor', f.actor,
    'reason', f.reason, 'allowedAgainAt', f.allowed_again_at) order by f.number), '[]')
  from eventsourcing_vault.fences f
  where f.tenant_id = p_tenant and f.number > p_after
$$;
comment on function eventsourcing_vault.list_fences is 'The fences of a tenant with higher numbers, in order.';
