-- tenant_id is the first column of every key, so that tenants share nothing and the schema can be distributed by tenant_id.

create table if not exists eventsourcing.tenants (
  tenant_id  uuid primary key,
  status     text not null default 'active' check (status in ('active', 'suspended')),
  created_at timestamptz not null default pg_catalog.date_trunc('milliseconds', pg_catalog.clock_timestamp()),
  lockable   boolean not null default true,
  chained_from bigint
);
comment on table eventsourcing.tenants is 'Registered tenants. Each append locks the row of its tenant, so that the appends of a tenant run one after another.';
comment on column eventsourcing.tenants.lockable is
  'Never read or written. PostgreSQL lets a role lock a row only if the role may update one of its columns, and this is that column.';
comment on column eventsourcing.tenants.chained_from is 'First position of the log that carries a hash; NULL without a hash chain.';
select eventsourcing.protect_tenant_table('eventsourcing.tenants');
select eventsourcing.open_table('eventsourcing.tenants', 'all_tenants_read', 'select', 'eventsourcing_all_tenants_owner');
select eventsourcing.open_table('eventsourcing.tenants', 'all_tenants_status', 'update', 'eventsourcing_all_tenants_owner');
select eventsourcing.open_table('eventsourcing.tenants', 'runner_heads', 'select', 'eventsourcing_runner_owner');
