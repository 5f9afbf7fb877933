-- Registers a projection that runs in the transactions of appends, without progress and without work for runners. Returns a row
-- with the reason if it is refused, as in register_projection.
create or replace function eventsourcing.register_inline_projection(p_projection text, p_version integer, p_tables text[])
returns table (reason text, read_model text, filled_by text, filled_by_version integer, filled_by_retired boolean)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  known eventsourcing.projection_versions;
begin
  -- a tenant's transaction must not learn the names of projections
  if nullif(current_setting('eventsourcing.tenant_id', true), '') is not null then
    raise exception 'the transaction is bound to a tenant' using errcode = 'ES001';
  end if;
  select * into known from eventsourcing.projection_versions v
  where v.projection = p_projection and v.version = p_version;
  if known.retired_at is null and known.inline and known.tables = p_tables then
    return;
  end if;
  -- locked, so that one of two versions registered at the same time sees the other
  lock table eventsourcing.projection_versions in share row exclusive mode;
  select * into known from eventsourcing.projection_versions v
  where v.projection = p_projection and v.version = p_version;
  if known.retired_at is not null then
    return query select 'Retired', null::text, null::text, null::integer, null::boolean;
    return;
  elsif not known.inline then
    return query select 'Runner', null::text, null::text, null::integer, null::boolean;
    return;
  end if;
  return query select 'TableTaken', t.* from eventsourcing.taken_table(p_projection, p_version, p_tables) t;
  if found then
    return;
  end if;
  insert into eventsourcing.projection_versions (projection, version, tables, inline)
  values (p_projection, p_version, p_tables, true)
  on conflict (projection, version) do update set tables = excluded.tables;
end
$$;

comment on function eventsourcing.register_inline_projection is
  'Registers a projection that runs in the transactions of appends; a row has the reason if it is refused.';
