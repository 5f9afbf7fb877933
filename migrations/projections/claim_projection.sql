-- Locks the row that has waited longest, of the first given projection that has work. The lock is the claim: it ends with the
-- transaction, or with the process that holds it.
--
-- If served_at is in the future, the clock of the database has gone back. Such a row comes first, once, and its retry is due:
-- otherwise it would wait until the clock reaches served_at again, behind all rows that are served meanwhile.
--
-- Tenants with more than their share of the workers come after all others.
create or replace function eventsourcing.claim_projection(p_projections text[], p_versions integer[])
returns table (
  tenant_id uuid, projection text, version integer, rebuild boolean, "position" bigint, head bigint, attempts integer,
  failed_position bigint, error text, failure_kind text, waited_ms double precision, tables text[], shared boolean,
  twins text
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  moment constant timestamptz := clock_timestamp();
  -- other rows may have been served since this call began
  ahead  constant timestamptz := moment + interval '1 second';
  known  record;
  -- the progress of these tenants stays as it is
  unseen constant uuid[] := eventsourcing.unseen_tenants(true);
  last_  constant bigint[] := eventsourcing.tenants_beyond_share();
begin
  for pass in case last_ when '{}' then 2 else 1 end .. 2 loop
    for i in 1 .. cardinality(p_projections) loop
      -- after the clock went back nothing is held
      select v.tables, coalesce(v.held_until between moment and moment + interval '10 seconds', false) as held,
          case when v.rebuilding then eventsourcing.twins_of(v.tables) end as twins
        into known
        from eventsourcing.projection_versions v
        where v.projection = p_projections[i] and v.version = p_versions[i] and v.retired_at is null and not v.inline;
      continue when not found;
      return query
        select p.tenant_id, p.projection, p.version, p.rebuild, p.position, p.head, p.attempts,
          p.failed_position, p.error, p.failure_kind, p.waited_ms, known.tables, p.shared, p.twins
        from eventsourcing.projections p
        where p.projection = p_projections[i] and p.version = p_versions[i]
          and (not p.parked or p.retry_at is not null) and (p.position < p.head or p.rebuild and not p.shared)
          and (unseen = '{}' or p.tenant_id <> all (unseen))
          and (p.rebuild or not known.held) and (not p.shared or p.twins = known.twins)
          and p.served_at > ahead
          and (pass = 2 or (uuid_hash(p.tenant_id)::bigint & 4294967295) <> all (last_))
        order by p.served_at
        limit 1
        for update skip locked;
      if found then
        return;
      end if;
      return query
        select p.tenant_id, p.projection, p.version, p.rebuild, p.position, p.head, p.attempts,
          p.failed_position, p.error, p.failure_kind, p.waited_ms, known.tables, p.shared, p.twins
        from eventsourcing.projections p
        where p.projection = p_projections[i] and p.version = p_versions[i]
          and (not p.parked or p.retry_at is not null) and (p.position < p.head or p.rebuild and not p.shared)
          and (unseen = '{}' or p.tenant_id <> all (unseen))
          and (p.rebuild or not known.held) and (not p.shared or p.twins = known.twins)
          and (p.retry_at is null or p.retry_at <= moment)
          and (pass = 2 or (uuid_hash(p.tenant_id)::bigint & 4294967295) <> all (last_))
        order by p.served_at
        limit 1
        for update skip locked;
      if found then
        return;
      end if;
    end loop;
  end loop;
end
$$;

comment on function eventsourcing.claim_projection is 'Claims the projection and tenant that have waited longest.';
