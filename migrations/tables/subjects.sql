create table if not exists eventsourcing.subjects (
  tenant_id uuid not null,
  subject   text collate "C" not null,
  number    integer,
  forgotten jsonb,
  begun     uuid,
  hold      jsonb,
  constraint subjects_pkey primary key (tenant_id, subject)
);

-- Not "if not exists", which locks the table even if the index exists.
do $$
begin
  if pg_catalog.to_regclass('eventsourcing.subjects_numbers') is null then
    create index subjects_numbers on eventsourcing.subjects (tenant_id, number);
  end if;
end
$$;
comment on table eventsourcing.subjects is
  'People of a tenant that were forgotten, or that must not be forgotten. Their keys are in the key vault, which is not here.';
comment on column eventsourcing.subjects.number is
  'The number of the last forgetting: that of tenants.forgotten_subjects right after it; NULL if the subject was never forgotten.';
comment on column eventsourcing.subjects.forgotten is
  'The last forgetting: forgetting (its id), forgottenAt, actor, reason, allowedAgainAt. Times are in milliseconds since 1970.';
comment on column eventsourcing.subjects.begun is 'The id of a forgetting that has begun and not ended: its event may not be in the log.';
comment on column eventsourcing.subjects.hold is 'The legal hold, which forbids forgetting: actor, reason and time; NULL for none.';
select eventsourcing.protect_tenant_table('eventsourcing.subjects');
