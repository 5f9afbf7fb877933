-- Marks all fences of a person that have no such mark.
create or replace function eventsourcing_vault.allow_subject(p_tenant uuid, p_subject text, p_allowed_at bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform eventsourcing_vault.lock_tenant(p_tenant);
  update eventsourcing_vault.fences f set allowed_again_at = p_allowed_at
  where f.tenant_id = p_tenant and f.subject = p_subject and f.allowed_again_at is null;
end
$$;
comment on function eventsourcing_vault.allow_subject is 'Allows a person of a tenant again, who gets new keys from now on.';
