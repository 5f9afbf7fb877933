create table if not exists eventsourcing.cross_tenant_accesses (
  access_id   uuid primary key,
  accessed_at timestamptz not null default pg_catalog.clock_timestamp(),
  actor       text not null check (actor <> ''),
  reason      text not null check (reason <> ''),
  operation   text not null,
  login       text not null,
  parameters  jsonb,
  completed_at timestamptz,
  outcome     jsonb,
  constraint cross_tenant_accesses_outcome_check
    check ((completed_at is null) = (outcome is null) and (outcome is null or parameters is not null))
);
-- Not only "if not exists", which locks the table even if the columns exist.
do $$
begin
  if not exists (
    select from pg_catalog.pg_attribute a
    where a.attrelid = 'eventsourcing.cross_tenant_accesses'::regclass and a.attname = 'parameters'
  ) then
    alter table eventsourcing.cross_tenant_accesses
      add column if not exists parameters jsonb, add column if not exists completed_at timestamptz,
      add column if not exists outcome jsonb,
      add constraint cross_tenant_accesses_outcome_check
        check ((completed_at is null) = (outcome is null) and (outcome is null or parameters is not null));
  end if;
end
$$;
create index if not exists cross_tenant_accesses_operations
  on eventsourcing.cross_tenant_accesses (operation collate "C", access_id desc) where parameters is not null;
comment on table eventsourcing.cross_tenant_accesses is 'Audit trail of accesses across tenants: actor, reason and operation.';
comment on column eventsourcing.cross_tenant_accesses.login is 'The login role of the session, independent of the stated actor.';
comment on column eventsourcing.cross_tenant_accesses.parameters is
  'The parameters of an operation, without secrets and payloads; NULL for a look.';
comment on column eventsourcing.cross_tenant_accesses.outcome is
  'The outcome of an operation, recorded once; NULL while it runs, and after its process was killed.';
select eventsourcing.open_table('eventsourcing.cross_tenant_accesses', 'all_tenants_audit', 'all', 'eventsourcing_all_tenants_owner');
