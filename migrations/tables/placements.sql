-- Tenants in databases of their own: the directory that says which tenant is where, and what a database knows of itself.

create table if not exists eventsourcing.placements (
  placement text collate "C" primary key check (placement <> ''),
  here      boolean not null default false,
  dedicated boolean not null default false
);
comment on table eventsourcing.placements is
  'Databases that tenants can be placed in, in the database that has the directory; in every database, its own name.';
comment on column eventsourcing.placements.here is 'Whether it is this database: a store that was sent here by mistake finds out.';
comment on column eventsourcing.placements.dedicated is
  'Whether this database takes the tenants alone that its owner admitted (admit_tenant).';
select eventsourcing.open_table('eventsourcing.placements', 'anyone_reads', 'select', 'public');
select eventsourcing.open_table('eventsourcing.placements', 'owner_registers', 'all', current_user);
