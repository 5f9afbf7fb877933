-- True if this transaction administers its tenant. The setting alone proves nothing, because everybody may set it: the access must
-- be recorded by this login, which only the roles that look across tenants or administer them can do.
create or replace function eventsourcing.is_administered()
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.require_cross_tenant_access(nullif(current_setting('eventsourcing.administered', true), '')::uuid);
  return true;
exception when sqlstate 'ES004' or invalid_text_representation then
  return false;
end
$$;

comment on function eventsourcing.is_administered is 'True if this transaction administers its tenant, under a recorded access.';
