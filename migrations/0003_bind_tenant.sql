-- Binding a tenant. These are the only places that bind one, with eventsourcing.append and
-- eventsourcing.read_streams_contents for the rows of each tenant of a batch: always for the transaction, never for the
-- session.

-- Refuses (SQLSTATE ES001) if the transaction is already bound to another tenant: one transaction, one tenant.
create or replace function eventsourcing.bind_tenant(p_tenant uuid)
returns void
language plpgsql
as $$
declare
  bound text := nullif(pg_catalog.current_setting('eventsourcing.tenant_id', true), '');
begin
  if p_tenant is null then
    raise exception 'no tenant given' using errcode = 'ES002';
  elsif bound is null then
    -- assigned, because a PERFORM would take longer
    bound := pg_catalog.set_config('eventsourcing.tenant_id', p_tenant::text, true);
  elsif bound <> p_tenant::text then
    raise exception 'the transaction is bound to another tenant' using errcode = 'ES001';
  end if;
end
$$;
comment on function eventsourcing.bind_tenant(uuid) is 'Binds the tenant for the rest of the transaction; another one is refused.';

-- The start of a transaction for the application's own SQL: binds the tenant and gives up every other right.
-- Runs with the caller's rights, because it changes the role of the transaction.
-- Refuses (SQLSTATE ES003) on a connection on which somebody left a tenant or an open transaction.
create or replace function eventsourcing.begin_tenant(p_tenant uuid)
returns void
language plpgsql
as $$
begin
  if nullif(pg_catalog.current_setting('eventsourcing.tenant_id', true), '') is not null
    or pg_catalog.pg_current_xact_id_if_assigned() is not null
  then
    raise exception 'the connection was handed on with a tenant or an open transaction' using errcode = 'ES003';
  end if;
  perform eventsourcing.bind_tenant(p_tenant);
  perform pg_catalog.set_config('role', 'eventsourcing_tenant', true);
end
$$;
comment on function eventsourcing.begin_tenant(uuid) is
  'First statement of a tenant-bound transaction: binds the tenant and switches to the role eventsourcing_tenant.';

revoke all on function eventsourcing.bind_tenant(uuid), eventsourcing.begin_tenant(uuid) from public;
grant execute on function eventsourcing.bind_tenant(uuid), eventsourcing.begin_tenant(uuid) to eventsourcing_tenant;
