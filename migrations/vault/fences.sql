create table if not exists eventsourcing_vault.fences (
  tenant_id        uuid not null,
  number           integer not null,
  subject          text collate "C" not null,
  forgetting       uuid not null,
  forgotten_at     bigint not null,
  actor            text not null,
  reason           text not null,
  allowed_again_at bigint,
  constraint fences_pkey primary key (tenant_id, number),
  constraint fences_forgetting unique (tenant_id, forgetting)
);

-- Not "if not exists", which locks the table even if the index exists.
do $$
begin
  if pg_catalog.to_regclass('eventsourcing_vault.fences_subject') is null then
    create index fences_subject on eventsourcing_vault.fences (tenant_id, subject);
  end if;
end
$$;
comment on table eventsourcing_vault.fences is 'Records of the persons that were forgotten. No role may remove them.';
comment on column eventsourcing_vault.fences.number is '1, 2, 3 … for each tenant, without gaps.';
comment on column eventsourcing_vault.fences.forgotten_at is 'Milliseconds since 1970, as allowed_again_at, which is NULL while the person is forgotten.';
