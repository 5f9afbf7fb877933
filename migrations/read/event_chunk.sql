-- Events are read in chunks, each a row with its events as columns. That costs the server as much as a row an event does,
-- and the client a third. Positions are doubles: exact up to 2^53, and cheap to decode.
do $$
begin
  create type eventsourcing.event_chunk as (
    request          integer,
    events           integer,
    complete         boolean,
    positions        double precision[],
    aggregate_types  text,
    aggregate_ids    text,
    versions         integer[],
    event_ids        text,
    raw_event_ids    bytea,
    event_types      text,
    schema_versions  integer[],
    occurred_at      bytea,
    recorded_at      bytea,
    correlation_ids  text,
    payloads         text,
    actors           text[],
    actors_at        double precision[],
    causation_ids    text[],
    causation_ids_at double precision[],
    metadata         text[],
    metadata_at      double precision[],
    tags             text[],
    tags_at          double precision[],
    hashes           text[],
    hashes_at        double precision[],
    traceparents     text[],
    traceparents_at  double precision[]
  );
exception
  when duplicate_object then null;
end
$$;

comment on type eventsourcing.event_chunk is
  'Events as columns, an element or text each, ascending. Texts are joined by U+001F, which no JSON text contains; event ids by nothing; raw event ids and times are as PostgreSQL sends them, 16 and 8 bytes each. Rare columns have the values that are not NULL (of metadata: not {}), with the positions of their events. request: the number of the stream, of load_streams. complete: nothing in range is behind the chunk.';
