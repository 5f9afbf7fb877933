-- Binds a tenant for the transaction, never for the session. Refuses (SQLSTATE ES001) a transaction that is bound to another
-- tenant already. Besides this function, only eventsourcing.append, eventsourcing.load_streams, eventsourcing.streams_end_with and
-- eventsourcing.command_outcomes bind tenants, those of the rows of a batch.

-- Functions that run with the search path of their caller qualify all types: pg_temp, where everybody may create types, comes
-- before pg_catalog.
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

comment on function eventsourcing.bind_tenant(uuid) is 'Binds the tenant for the rest of the transaction and refuses another one.';
