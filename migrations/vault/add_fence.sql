-- Records that a person is forgotten, unless this forgetting is recorded, and fences the keys of the person and the tenant's key of
-- snapshots, which may contain anybody's data. Returns the record.
create or replace function eventsourcing_vault.add_fence(p_tenant uuid, p_fence jsonb)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_forgetting constant uuid := (p_fence ->> 'forgetting')::uuid;
begin
  perform eventsourcing_vault.lock_tenant(p_tenant);
  if not exists (
    select from eventsourcing_vault.fences f where f.tenant_id = p_tenant and f.forgetting = v_forgetting
  ) then
    insert into eventsourcing_vault.fences (tenant_id, number, subject, forgetting, forgotten_at, actor, reason)
    select p_tenant, coalesce(max(f.number), 0) + 1, p_fence ->> 'subject', v_forgetting,
      (p_fence ->> 'forgottenAt')::bigint, p_fence ->> 'actor', p_fence ->> 'reason'
    from eventsourcing_vault.fences f where f.tenant_id = p_tenant;
    update eventsourcing_vault.data_keys k set fenced_by = v_forgetting
    where k.tenant_id = p_tenant and k.fenced_by is null
      and (k.kind, k.name) in (('subject', p_fence ->> 'subject'), ('tenant', 'snapshots'));
  end if;
  return (
    select eventsourcing_vault.list_fences(p_tenant, f.number - 1) -> 0
    from eventsourcing_vault.fences f where f.tenant_id = p_tenant and f.forgetting = v_forgetting);
end
$$;
comment on function eventsourcing_vault.add_fence is 'Records that a person is forgotten, and fences the keys.';
