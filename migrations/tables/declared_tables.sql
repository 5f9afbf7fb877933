create table if not exists eventsourcing.declared_tables (
  name     text collate "C" primary key,
  handling text not null check (handling in ('derived', 'carried', 'keptOut')),
  reason   text check (reason <> ''),
  constraint declared_tables_reason check (handling <> 'keptOut' or reason is not null)
);
comment on table eventsourcing.declared_tables is
  'Tables of the application with rows of tenants, and their part in exports and moves. They belong to the application, not to a tenant.';
comment on column eventsourcing.declared_tables.handling is
  'derived: rebuilt from the log; carried: exported and moved; keptOut: neither, for the reason.';
select eventsourcing.open_table('eventsourcing.declared_tables', 'anyone_reads', 'select', 'public');
select eventsourcing.open_table('eventsourcing.declared_tables', 'owner_registers', 'all', current_user);
