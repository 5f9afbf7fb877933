-- Queries by event type and tag, for conditional appends and for reading; commands; hash chains.

-- The positions of the first p_limit events of the tenant's log with p_from <= position <= p_to that match a query, in
-- ascending or descending order. A query is an array of items {"types": […] or null, "tags": […]}: an event matches an
-- item if it is of one of the types (null: of any) and has all of the tags; it matches the query if it matches any item.
-- p_aggregate_types and p_event_types (NULL: all) are further conditions.
-- An item with tags goes by the index of its rarest tag, one without by the primary key of the log.
create or replace function eventsourcing.matching_positions(
  p_tenant uuid, p_query jsonb, p_from bigint, p_to bigint, p_aggregate_types text[], p_event_types text[],
  p_backwards boolean, p_limit integer
)
returns bigint[]
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
-- as in read_stream
set enable_sort = off
as $$
declare
  item   jsonb;
  types_ text[];
  tags_  text[];
  other  text;
  rarest text;
  count_ bigint;
  least_ bigint;
  found_ bigint[];
  all_   bigint[] := '{}';
begin
  perform eventsourcing.bind_tenant(p_tenant);
  for item in select q.value from jsonb_array_elements(p_query) q loop
    types_ := case when jsonb_typeof(item -> 'types') = 'array'
      then array(select t.value from jsonb_array_elements_text(item -> 'types') t) end;
    if types_ is null then
      types_ := p_event_types;
    elsif p_event_types is not null then
      types_ := array(select t from unnest(types_) t where t = any (p_event_types));
    end if;
    tags_ := array(select t.value from jsonb_array_elements_text(item -> 'tags') t);
    continue when cardinality(types_) = 0;

    if cardinality(tags_) = 0 then
      if p_backwards then
        found_ := array(
          select e.position from eventsourcing.events e
          where e.tenant_id = p_tenant and e.position between p_from and p_to
            and (types_ is null or e.event_type = any (types_))
            and (p_aggregate_types is null or e.aggregate_type = any (p_aggregate_types))
          order by e.position desc limit p_limit);
      else
        found_ := array(
          select e.position from eventsourcing.events e
          where e.tenant_id = p_tenant and e.position between p_from and p_to
            and (types_ is null or e.event_type = any (types_))
            and (p_aggregate_types is null or e.aggregate_type = any (p_aggregate_types))
          order by e.position limit p_limit);
      end if;
    else
      rarest := tags_[1];
      if cardinality(tags_) > 1 then
        least_ := null;
        foreach other in array tags_ loop
          -- counting further would cost more than it saves
          count_ := (
            select count(*) from (
              select from eventsourcing.event_tags t
              where t.tenant_id = p_tenant and t.tag = other and t.position between p_from and p_to
              limit 1000
            ) counted);
          if least_ is null or count_ < least_ then
            least_ := count_;
            rarest := other;
          end if;
        end loop;
        continue when least_ = 0;
      end if;
      if p_backwards then
        found_ := array(
          select t.position from eventsourcing.event_tags t
          where t.tenant_id = p_tenant and t.tag = rarest and t.position between p_from and p_to
            and (types_ is null or t.event_type = any (types_))
            and (cardinality(tags_) = 1 and p_aggregate_types is null or (
              select e.tags @> tags_ and (p_aggregate_types is null or e.aggregate_type = any (p_aggregate_types))
              from eventsourcing.events e
              where e.tenant_id = p_tenant and e.position between t.position and t.position
              order by e.position limit 1))
          order by t.position desc limit p_limit);
      else
        found_ := array(
          select t.position from eventsourcing.event_tags t
          where t.tenant_id = p_tenant and t.tag = rarest and t.position between p_from and p_to
            and (types_ is null or t.event_type = any (types_))
            and (cardinality(tags_) = 1 and p_aggregate_types is null or (
              select e.tags @> tags_ and (p_aggregate_types is null or e.aggregate_type = any (p_aggregate_types))
              from eventsourcing.events e
              where e.tenant_id = p_tenant and e.position between t.position and t.position
              order by e.position limit 1))
          order by t.position limit p_limit);
      end if;
    end if;
    all_ := all_ || found_;
  end loop;
  if p_backwards then
    return array(select distinct u.position from unnest(all_) u (position) order by u.position desc limit p_limit);
  else
    return array(select distinct u.position from unnest(all_) u (position) order by u.position limit p_limit);
  end if;
end
$$;
comment on function eventsourcing.matching_positions is 'Where the first events of the tenant''s log are that match a query.';

-- The hash of an event: SHA-256 over the hash of its predecessor (32 zero bytes for the first of a chain) and the event in
-- UTF-8: for each field in the order of the parameters its length in bytes, a colon and its text (times as milliseconds
-- since 1970), "-" for NULL; at last the number of tags and the tags, in the same way.
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

-- Has every further event of the tenant carry a hash; nothing happens if they do. Waits for the append that holds the
-- tenant's lock. Returns the first position with a hash, NULL for an unknown tenant.
create or replace function eventsourcing.start_hash_chain(p_tenant uuid)
returns double precision
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
declare
  chained bigint;
begin
  perform eventsourcing.bind_tenant(p_tenant);
  chained := (select t.chained_from from eventsourcing.tenants t where t.tenant_id = p_tenant for no key update);
  if chained is null then
    -- a statement of its own, which sees what the previous holder of the lock has committed
    update eventsourcing.tenants t
    set chained_from = coalesce(
      (select e.position from eventsourcing.events e where e.tenant_id = p_tenant order by e.position desc limit 1), 0) + 1
    where t.tenant_id = p_tenant and t.chained_from is null
    returning t.chained_from into chained;
  end if;
  return chained;
end
$$;
comment on function eventsourcing.start_hash_chain is 'Starts the hash chain of the tenant; returns its first position.';

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

-- The outcome of the command that was carried out under a key; no row if there is none, or it has expired.
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
comment on function eventsourcing.command_outcome is 'The outcome of the tenant''s command with a key.';

-- An announcement as a transaction of its own, see append_alone. Nobody waits until it is on disk: losing it costs only
-- time, and appends would wait for it on their way to the disk.
create or replace procedure eventsourcing.announce_alone(in p_tenants uuid[], out held text[])
language plpgsql
as $$
declare
  setting text;
begin
  rollback;
  setting := pg_catalog.set_config('synchronous_commit', 'off', true);
  held := eventsourcing.announce(p_tenants)::text[];
end
$$;
comment on procedure eventsourcing.announce_alone is 'eventsourcing.announce as a transaction of its own.';
revoke all on procedure eventsourcing.announce_alone from public;
grant execute on procedure eventsourcing.announce_alone to eventsourcing_tenant;

-- Owners and callers of the functions above, as in 0008_grants.sql.
do $$
declare
  signature regprocedure;
begin
  grant create on schema eventsourcing to eventsourcing_tenant;
  for signature in
    select p.oid::regprocedure from pg_catalog.pg_proc p
    where p.pronamespace = 'eventsourcing'::regnamespace and p.proname in (
      'matching_positions', 'event_hash', 'start_hash_chain', 'hash_chain_start', 'command_outcome')
  loop
    execute pg_catalog.format('alter function %s owner to eventsourcing_tenant', signature);
    execute pg_catalog.format('revoke all on function %s from public', signature);
    execute pg_catalog.format('grant execute on function %s to eventsourcing_tenant', signature);
  end loop;
  revoke create on schema eventsourcing from eventsourcing_tenant;
end
$$;

create or replace function eventsourcing.schema_version()
returns integer
language sql
immutable
as 'select 10';
