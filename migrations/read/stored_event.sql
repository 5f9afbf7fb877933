-- Reading one tenant. Each function binds the tenant and answers in one round trip.
-- Pages end after p_limit events or with the event that brings their bytes to p_max_bytes.

do $$
begin
  create type eventsourcing.stored_event as (
    "position"     double precision,
    aggregate_type text,
    aggregate_id   text,
    version        integer,
    event_id       uuid,
    event_type     text,
    schema_version integer,
    occurred_at    timestamptz,
    recorded_at    timestamptz,
    actor          text,
    correlation_id text,
    causation_id   text,
    metadata       text,
    payload        text,
    more           boolean
  );
exception
  when duplicate_object then null;
end
$$;

-- attributes that were added later
do $$
begin
  if not exists (
    select from pg_catalog.pg_attribute a
    where a.attrelid = 'eventsourcing.stored_event'::regclass and a.attname = 'tags' and not a.attisdropped
  ) then
    alter type eventsourcing.stored_event add attribute tags text[], add attribute hash text;
  end if;
end
$$;

comment on type eventsourcing.stored_event is
  'An event as the functions return it. position is a double: exact up to 2^53, and cheap to decode. more: whether something in range is behind it.';
