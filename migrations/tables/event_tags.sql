create table if not exists eventsourcing.event_tags (
  tenant_id  uuid not null,
  tag        text collate "C" not null,
  position   bigint not null,
  event_type text collate "C" not null,
  constraint event_tags_pkey primary key (tenant_id, tag, position)
);
comment on table eventsourcing.event_tags is 'Positions of the events with a tag. Written with the event and never changed.';
select eventsourcing.protect_tenant_table('eventsourcing.event_tags');
