-- Binding a tenant. These are the only places that bind one, with eventsourcing.append and
-- eventsourcing.load_streams for the rows of each tenant of a batch: always for the transaction, never for the
-- session.

-- Types are qualified wherever a function runs with the search path of its caller: a type of that name in pg_temp, where
-- everybody may make some, comes before those of pg_catalog.

-- Refuses (SQLSTATE ES001) if the transaction is already bound to another tenant: one transaction, one tenant.
create or replace function eventsourcing.bind_tenant(p_tenant uuid)
returns void
language plpgsql
as $$
declare
  bound pg_catalog.text := pg_catalog.current_setting('eventsourcing.tenant_id', true);
begin
  if p_tenant is null then
    raise exception 'no tenant given' using errcode = 'ES002';
  elsif bound is null or bound operator(pg_catalog.=) '' then
    -- assigned, because a PERFORM would take longer
    bound := pg_catalog.set_config('eventsourcing.tenant_id', p_tenant::pg_catalog.text, true);
  elsif bound operator(pg_catalog.<>) p_tenant::pg_catalog.text then
    raise exception 'the transaction is bound to another tenant' using errcode = 'ES001';
  end if;
end
$$;

comment on function eventsourcing.bind_tenant(uuid) is 'Binds the tenant for the rest of the transaction; another one is refused.';
