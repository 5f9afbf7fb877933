-- The hash of an event: SHA-256 of the hash of its predecessor (32 zero bytes for the first of a chain) and the event in UTF-8.
-- The event is written as its fields, in the order of the parameters: each as its length in bytes, a colon and its text (times
-- in milliseconds since 1970), or as "-" for NULL. The number of tags and the tags follow in the same form.
create or replace function eventsourcing.event_hash(
  p_previous bytea, p_tenant uuid, p_position bigint, p_aggregate_type text, p_aggregate_id text, p_version integer,
  p_event_id uuid, p_event_type text, p_schema_version integer, p_occurred_at timestamptz, p_recorded_at timestamptz,
  p_actor text, p_correlation_id text, p_causation_id text, p_metadata text, p_payload text, p_tags text[]
)
returns bytea
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  return sha256(p_previous || (
    select string_agg(
      coalesce(octet_length(f.bytes) || ':', '-')::bytea || coalesce(f.bytes, ''), '' order by f.place)
    from (
      select convert_to(u.field, 'UTF8') as bytes, u.place
      from unnest(array[
        p_tenant::text, p_position::text, p_aggregate_type, p_aggregate_id, p_version::text, p_event_id::text,
        p_event_type, p_schema_version::text, (extract(epoch from p_occurred_at) * 1000)::bigint::text,
        (extract(epoch from p_recorded_at) * 1000)::bigint::text, p_actor, p_correlation_id, p_causation_id, p_metadata,
        p_payload, coalesce(cardinality(p_tags), 0)::text
      ] || p_tags) with ordinality u (field, place)
    ) f));
end
$$;

comment on function eventsourcing.event_hash is 'The hash of an event in the chain of its tenant.';
