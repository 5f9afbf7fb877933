create table if not exists eventsourcing.event_blocks (
  tenant_id       uuid not null,
  block           bigint not null check (block >= 0),
  event_types     text[] not null,
  aggregate_types text[] not null,
  constraint event_blocks_pkey primary key (tenant_id, block)
);
comment on table eventsourcing.event_blocks is
  'The types of the events in each full block of 1,024 positions: block n ends with position 1024 (n + 1). Written when a block is full and never changed. Readers of a type skip the blocks without it; a block without a row is read.';
select eventsourcing.protect_tenant_table('eventsourcing.event_blocks');
