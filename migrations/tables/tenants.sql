-- tenant_id is the first column of every key, so tenants share nothing and the schema can be distributed by tenant_id.

create table if not exists eventsourcing.tenants (
  tenant_id  uuid primary key,
  status     text not null default 'active' check (status in ('active', 'suspended')),
  created_at timestamptz not null default pg_catalog.date_trunc('milliseconds', pg_catalog.clock_timestamp()),
  lockable   boolean not null default true,
  chained_from bigint
);
comment on table eventsourcing.tenants is 'Every tenant with a log. Appends lock the row of their tenant, which puts them in order.';
comment on column eventsourcing.tenants.lockable is
  'Never read or written. PostgreSQL lets a role lock a row only if it may update one of its columns: this one.';
comment on column eventsourcing.tenants.chained_from is 'The first position of its log that carries a hash; NULL if none does.';
select eventsourcing.protect_tenant_table('eventsourcing.tenants');
select eventsourcing.open_table('eventsourcing.tenants', 'all_tenants_read', 'select', 'eventsourcing_all_tenants_owner');
select eventsourcing.open_table('eventsourcing.tenants', 'all_tenants_status', 'update', 'eventsourcing_all_tenants_owner');
select eventsourcing.open_table('eventsourcing.tenants', 'runner_heads', 'select', 'eventsourcing_runner_owner');
