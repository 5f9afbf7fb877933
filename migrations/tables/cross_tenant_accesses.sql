create table if not exists eventsourcing.cross_tenant_accesses (
  access_id   uuid primary key,
  accessed_at timestamptz not null default pg_catalog.clock_timestamp(),
  actor       text not null check (actor <> ''),
  reason      text not null check (reason <> ''),
  operation   text not null,
  login       text not null
);
comment on table eventsourcing.cross_tenant_accesses is 'Audit trail: who looked across tenants, why, and at what.';
comment on column eventsourcing.cross_tenant_accesses.login is 'The role that was logged in, whoever it gave as the actor.';
select eventsourcing.open_table('eventsourcing.cross_tenant_accesses', 'all_tenants_audit', 'all', 'eventsourcing_all_tenants_owner');
