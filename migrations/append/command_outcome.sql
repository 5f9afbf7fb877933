-- The recorded outcome of the tenant's command with a key; no row if there is none, or if it has expired.
create or replace function eventsourcing.command_outcome(p_tenant uuid, p_key text)
returns table (
  fingerprint text, aggregate_type text, aggregate_id text, version integer, "position" double precision, events integer
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
  perform eventsourcing.bind_tenant(p_tenant);
  return query
    select c.fingerprint, c.aggregate_type, c.aggregate_id, c.version, c.position::double precision, c.events
    from eventsourcing.command_keys c
    where c.tenant_id = p_tenant and c.key = p_key and c.expires_at > clock_timestamp();
end
$$;

comment on function eventsourcing.command_outcome is 'The recorded outcome of the tenant''s command with a key.';
