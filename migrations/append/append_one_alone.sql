-- append_one as a transaction of its own; see append_alone.
create or replace procedure eventsourcing.append_one_alone(
  in p_tenant         uuid,
  in p_aggregate_type text,
  in p_aggregate_id   text,
  in p_expected       integer,
  in p_event_id       uuid,
  in p_event_type     text,
  in p_schema_version integer,
  in p_occurred_at    timestamptz,
  in p_actor          text,
  in p_correlation_id text,
  in p_causation_id   text,
  in p_metadata       text,
  in p_payload        text,
  in p_tags           text[],
  out "position"      double precision,
  out version         integer,
  out recorded_at     timestamptz
)
language plpgsql
as $$
declare
  answer pg_catalog.record;
begin
  rollback;
  set transaction isolation level read committed;
  answer := eventsourcing.append_one(
    p_tenant, p_aggregate_type, p_aggregate_id, p_expected, p_event_id, p_event_type, p_schema_version, p_occurred_at, p_actor, p_correlation_id, p_causation_id, p_metadata, p_payload, p_tags
  );
  "position" := answer."position";
  version := answer.version;
  recorded_at := answer.recorded_at;
end
$$;

comment on procedure eventsourcing.append_one_alone is 'eventsourcing.append_one as a transaction of its own.';
