-- Recorded outcomes of commands by their keys, of one tenant or of several in one statement, because a statement costs more than
-- a look-up. request is the number of a key in the arrays; a key without an outcome, or with an expired one, has no row.
--
-- Each tenant is bound right before its key is looked up, so that row-level security shows only the keys of that tenant.
create or replace function eventsourcing.command_outcomes(p_tenants text[], p_keys text[])
returns table (
  request integer, fingerprint text, aggregate_type text, aggregate_id text, version integer, "position" double precision,
  events integer
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
-- The plan is kept, even if it is made while there are few keys: while there is one, the index of times costs no more than the
-- primary key, whose order is asked for.
set enable_seqscan = off set enable_sort = off
as $$
#variable_conflict use_column
begin
  if nullif(current_setting('eventsourcing.tenant_id', true), '') is not null then
    -- a bound transaction refuses other tenants
    for n in 1 .. cardinality(p_tenants) loop
      perform eventsourcing.bind_tenant(p_tenants[n]::uuid);
    end loop;
  end if;
  if array_position(p_tenants, null) is not null then
    raise exception 'no tenant given' using errcode = 'ES002';
  end if;
  return query
    select r.n, c.fingerprint, c.aggregate_type, c.aggregate_id, c.version, c.position::double precision, c.events
    from generate_series(1, cardinality(p_tenants)) r (n)
    cross join lateral (
      -- in this order: the tenant is bound, and then refused if its status hides it; once, as that takes longer than a look-up
      select set_config('eventsourcing.tenant_id', p_tenants[r.n], true)::uuid as tenant_id,
        case when r.n = 1 or p_tenants[r.n] <> p_tenants[r.n - 1] then eventsourcing.require_visible(p_tenants[r.n]::uuid) end
      offset 0
    ) b
    cross join lateral (
      select k.fingerprint, k.aggregate_type, k.aggregate_id, k.version, k.position, k.events
      from eventsourcing.command_keys k
      where k.tenant_id = b.tenant_id and k.key between p_keys[r.n] and p_keys[r.n] and k.expires_at > clock_timestamp()
      order by k.key limit 1
    ) c;
end
$$;

comment on function eventsourcing.command_outcomes is 'The recorded outcomes of commands by their keys, of one or several tenants.';
