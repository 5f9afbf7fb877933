create or replace procedure eventsourcing.append_alone(
  in p_provision             boolean,
  in p_wait                  boolean,
  in p_tenants               text[],
  in p_round_last_segments   integer[],
  in p_segment_tenants       integer[],
  in p_segment_last_streams  integer[],
  in p_stream_appends        integer[],
  in p_stream_segments       integer[],
  in p_stream_types          text[],
  in p_stream_ids            text[],
  in p_stream_expected       integer[],
  in p_stream_last_events    integer[],
  in p_stream_previous       integer[],
  in p_stream_events_before  integer[],
  in p_event_streams         integer[],
  in p_event_ids             uuid[],
  in p_event_types           text[],
  in p_event_schema_versions integer[],
  in p_event_occurred_at     timestamptz[],
  in p_event_actors          text[],
  in p_event_correlation_ids text[],
  in p_event_causation_ids   text[],
  in p_event_metadata        text[],
  in p_event_payloads        text[],
  in p_event_tags            text[],
  in p_extras                jsonb,
  out results                double precision[],
  out commands               jsonb
)
language plpgsql
as $$
declare
  answer pg_catalog.record;
begin
  rollback;
  -- whatever the default is: with an older snapshot, what the previous holder of the lock committed would not be seen
  set transaction isolation level read committed;
  answer := eventsourcing.append(
    p_provision, p_wait, p_tenants, p_round_last_segments, p_segment_tenants, p_segment_last_streams, p_stream_appends,
    p_stream_segments, p_stream_types, p_stream_ids, p_stream_expected, p_stream_last_events, p_stream_previous,
    p_stream_events_before, p_event_streams, p_event_ids, p_event_types, p_event_schema_versions, p_event_occurred_at, p_event_actors, p_event_correlation_ids,
    p_event_causation_ids, p_event_metadata, p_event_payloads, p_event_tags, p_extras
  );
  results := answer.results;
  commands := answer.commands;
end
$$;

comment on procedure eventsourcing.append_alone is 'eventsourcing.append as a transaction of its own.';
