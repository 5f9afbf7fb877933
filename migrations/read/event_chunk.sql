-- Events are read in chunks: a chunk is one row whose columns hold the values of all its events. This costs the server as much
-- as one row per event, and the client a third of it. Positions are doubles, which are exact up to 2^53 and cheap to decode.
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
  'Events in columns, in ascending order. Texts are joined by U+001F, which no JSON text contains; event ids are joined without a separator. Raw event ids and times are in the binary format of PostgreSQL, 16 and 8 bytes each. Columns that are rarely filled contain only the values that are not NULL (for metadata: not {}), with the positions of their events. request is the number of the stream in load_streams. complete is true if the range has no events after the chunk.';
