create table if not exists eventsourcing.cross_tenant_accesses (
  access_id   uuid primary key,
  accessed_at timestamptz not null default pg_catalog.clock_timestamp(),
  actor       text not null check (actor <> ''),
  reason      text not null check (reason <> ''),
  operation   text not null,
  login       text not null
);
comment on table eventsourcing.cross_tenant_accesses is 'Audit trail of accesses across tenants: actor, reason and operation.';
comment on column eventsourcing.cross_tenant_accesses.login is 'The login role of the session, independent of the stated actor.';
select eventsourcing.open_table('eventsourcing.cross_tenant_accesses', 'all_tenants_audit', 'all', 'eventsourcing_all_tenants_owner');
