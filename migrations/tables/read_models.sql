create table if not exists eventsourcing.read_models (
  name       text collate "C" primary key,
  live_table text not null,
  shared     boolean not null default false
);
comment on table eventsourcing.read_models is 'Tables registered with register_read_model or register_shared_read_model. They belong to the application, not to a tenant.';
comment on column eventsourcing.read_models.shared is
  'Filled by a projection across tenants: eventsourcing_all_tenants sees and changes all rows.';
select eventsourcing.open_table('eventsourcing.read_models', 'anyone_reads', 'select', 'public');
select eventsourcing.open_table('eventsourcing.read_models', 'owner_registers', 'all', current_user);
