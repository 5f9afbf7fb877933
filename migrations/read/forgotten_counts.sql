-- The numbers of forgotten subjects of several tenants, in one statement, because a statement costs more than a look-up. Each tenant
-- is bound when the loop reaches it.
create or replace function eventsourcing.forgotten_counts(p_tenants text[])
returns integer[]
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
declare
  counts   integer[] := '{}';
  v_tenant uuid;
begin
  if nullif(current_setting('eventsourcing.tenant_id', true), '') is not null then
    -- a bound transaction refuses other tenants
    for n in 1 .. cardinality(p_tenants) loop
      perform eventsourcing.bind_tenant(p_tenants[n]::uuid);
    end loop;
  end if;
  for n in 1 .. cardinality(p_tenants) loop
    if p_tenants[n] is null then
      raise exception 'no tenant given' using errcode = 'ES002';
    end if;
    v_tenant := set_config('eventsourcing.tenant_id', p_tenants[n], true);
    perform eventsourcing.require_visible(v_tenant);
    counts[n] := coalesce((select t.forgotten_subjects from eventsourcing.tenants t where t.tenant_id = v_tenant), 0);
  end loop;
  return counts;
end
$$;

comment on function eventsourcing.forgotten_counts is 'For each of several tenants: its number of forgotten subjects.';
