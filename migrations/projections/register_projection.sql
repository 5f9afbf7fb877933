-- Registers a projection, unless it is retired or fills a table that another projection or version fills. Returns no row if it
-- is registered.
--
-- With p_from_now, a projection that is registered for the first time skips the events that the logs have. Announcements add
-- rows only after this has committed, so no tenant here gets a row at position 0 before.
--
-- A row that is parked because of the schema is due now, because the deployment that registers the projection may have repaired
-- the schema. Rows that a worker has locked are being tried anyway.
create or replace function eventsourcing.register_projection(
  p_projection text, p_version integer, p_tables text[], p_from_now boolean default false
)
returns table (reason text, read_model text, filled_by text, filled_by_version integer, filled_by_retired boolean)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  known eventsourcing.projection_versions;
begin
  update eventsourcing.projections p set retry_at = clock_timestamp()
  where (p.tenant_id, p.projection, p.version, p.rebuild) in (
    select q.tenant_id, q.projection, q.version, q.rebuild from eventsourcing.projections q
    where q.projection = p_projection and q.version = p_version and q.parked
      and (not q.parked or q.retry_at is not null) and (q.position < q.head or q.rebuild and not q.shared)
    for update skip locked);
  select * into known from eventsourcing.projection_versions v
  where v.projection = p_projection and v.version = p_version;
  if known.retired_at is null and not known.inline and known.tables = p_tables then
    return;
  end if;
  -- of two versions that are registered at the same time, one must see the other
  lock table eventsourcing.projection_versions in share row exclusive mode;
  select * into known from eventsourcing.projection_versions v
  where v.projection = p_projection and v.version = p_version;
  if known.retired_at is not null then
    return query select 'Retired', null::text, null::text, null::integer, null::boolean;
    return;
  elsif known.inline then
    return query select 'Inline', null::text, null::text, null::integer, null::boolean;
    return;
  end if;
  return query select 'TableTaken', t.* from eventsourcing.taken_table(p_projection, p_version, p_tables) t;
  if found then
    return;
  end if;
  insert into eventsourcing.projection_versions (projection, version, tables) values (p_projection, p_version, p_tables)
  on conflict (projection, version) do update set tables = excluded.tables;
  if known.projection is null and p_from_now then
    insert into eventsourcing.projections (tenant_id, projection, version, rebuild, position, head)
    select t.tenant_id, p_projection, p_version, false, log.head, log.head
    from eventsourcing.tenants t
    cross join lateral (
      select coalesce(
        (select e.position from eventsourcing.events e where e.tenant_id = t.tenant_id order by e.position desc limit 1),
        0) as head
    ) log
    order by 1
    on conflict do nothing;
  end if;
end
$$;

comment on function eventsourcing.register_projection is
  'Registers a projection, so that announcements reach it. Returns a row with the reason if it is refused.';
