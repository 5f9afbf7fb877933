create table if not exists eventsourcing.tenant_directory (
  tenant_id uuid primary key,
  placement text collate "C" not null
);
comment on table eventsourcing.tenant_directory is 'The placement of each tenant.';
select eventsourcing.protect_tenant_table('eventsourcing.tenant_directory');
select eventsourcing.open_table('eventsourcing.tenant_directory', 'all_tenants_place', 'all', 'eventsourcing_all_tenants_owner');
