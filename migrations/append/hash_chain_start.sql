create or replace function eventsourcing.hash_chain_start(p_tenant uuid)
returns double precision
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  return (select t.chained_from from eventsourcing.tenants t where t.tenant_id = p_tenant);
end
$$;

comment on function eventsourcing.hash_chain_start is 'The first position of the tenant''s log that carries a hash; NULL if none does.';
