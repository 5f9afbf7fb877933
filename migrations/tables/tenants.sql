-- tenant_id is the first column of every key, so that tenants share nothing and the schema can be distributed by tenant_id.

create table if not exists eventsourcing.tenants (
  tenant_id  uuid primary key,
  status     text not null default 'active' check (status in ('active', 'suspended', 'elsewhere')),
  created_at timestamptz not null default pg_catalog.date_trunc('milliseconds', pg_catalog.clock_timestamp()),
  lockable   boolean not null default true,
  chained_from bigint
);
comment on table eventsourcing.tenants is 'Registered tenants. Each append locks the row of its tenant, so that the appends of a tenant run one after another.';
comment on column eventsourcing.tenants.lockable is
  'Never read or written. PostgreSQL lets a role lock a row only if the role may update one of its columns, and this is that column.';
comment on column eventsourcing.tenants.chained_from is 'First position of the log that carries a hash; NULL without a hash chain.';
comment on column eventsourcing.tenants.status is
  'active; suspended: it can be read but not written; elsewhere: it has another database, and this one refuses it.';
do $$
begin
  if not exists (
    select from pg_catalog.pg_constraint c
    where c.conrelid = 'eventsourcing.tenants'::regclass and c.conname = 'tenants_status_check'
      and pg_catalog.pg_get_constraintdef(c.oid) like '%elsewhere%'
  ) then
    alter table eventsourcing.tenants drop constraint tenants_status_check, add constraint tenants_status_check
      check (status in ('active', 'suspended', 'elsewhere'));
  end if;
end
$$;
select eventsourcing.protect_tenant_table('eventsourcing.tenants');
select eventsourcing.open_table('eventsourcing.tenants', 'all_tenants_read', 'select', 'eventsourcing_all_tenants_owner');
select eventsourcing.open_table('eventsourcing.tenants', 'all_tenants_status', 'update', 'eventsourcing_all_tenants_owner');
select eventsourcing.open_table('eventsourcing.tenants', 'runner_heads', 'select', 'eventsourcing_runner_owner');
