-- For tenants in several databases: the directory of placements, and the name of each database.

create table if not exists eventsourcing.placements (
  placement text collate "C" primary key check (placement <> ''),
  here      boolean not null default false,
  dedicated boolean not null default false
);
comment on table eventsourcing.placements is
  'In the database with the directory: the databases that tenants can be placed in. In every database: its own name.';
comment on column eventsourcing.placements.here is 'True for this database, so that a store notices that it has connected to the wrong one.';
comment on column eventsourcing.placements.dedicated is
  'True if this database accepts only tenants that its owner has admitted (admit_tenant).';
select eventsourcing.open_table('eventsourcing.placements', 'anyone_reads', 'select', 'public');
select eventsourcing.open_table('eventsourcing.placements', 'owner_registers', 'all', current_user);
