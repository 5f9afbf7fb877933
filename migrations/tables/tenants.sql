-- tenant_id is the first column of every key, so that tenants share nothing and the schema can be distributed by tenant_id.

create table if not exists eventsourcing.tenants (
  tenant_id  uuid primary key,
  status     text not null default 'active'
    check (status in ('active', 'suspended', 'elsewhere', 'importing', 'moving', 'moved', 'erased')),
  created_at timestamptz not null default pg_catalog.date_trunc('milliseconds', pg_catalog.clock_timestamp()),
  lockable   boolean not null default true,
  chained_from bigint,
  undertaking jsonb,
  hold       jsonb,
  origin     jsonb,
  quota      jsonb,
  forgotten_subjects integer not null default 0
);
-- Not only "if not exists", which locks the table even if the columns exist.
do $$
begin
  if not exists (
    select from pg_catalog.pg_attribute a where a.attrelid = 'eventsourcing.tenants'::regclass and a.attname = 'forgotten_subjects'
  ) then
    alter table eventsourcing.tenants
      add column if not exists undertaking jsonb, add column if not exists hold jsonb,
      add column if not exists origin jsonb, add column if not exists quota jsonb,
      add column if not exists forgotten_subjects integer not null default 0;
  end if;
end
$$;
comment on table eventsourcing.tenants is 'Registered tenants. Each append locks the row of its tenant, so that the appends of a tenant run one after another.';
comment on column eventsourcing.tenants.lockable is
  'Never read or written. PostgreSQL lets a role lock a row only if the role may update one of its columns, and this is that column.';
comment on column eventsourcing.tenants.chained_from is 'First position of the log that carries a hash; NULL without a hash chain.';
comment on column eventsourcing.tenants.status is
  'active; suspended: it can be read but not written; elsewhere: it has another database, and this one refuses it; importing: its log is being written, and no work sees it; moving: it can be read but not written until a move ends; moved: it has another database since; erased: only this row remains.';
comment on column eventsourcing.tenants.undertaking is
  'The import, move or erasure that the status belongs to: its token, and what it has recorded. Times are in milliseconds since 1970.';
comment on column eventsourcing.tenants.hold is 'The legal hold, which forbids erasure: actor, reason and time; NULL for none.';
comment on column eventsourcing.tenants.origin is
  'The log of another tenant from which this one was imported: tenantId, position, eventId, hash; NULL for none.';
comment on column eventsourcing.tenants.quota is
  'The limits of the tenant, see plans.limits, or the name of its plan: {"plan": …}; NULL for none.';
comment on column eventsourcing.tenants.forgotten_subjects is
  'Grows whenever a subject of the tenant is forgotten. Appends and states that were made before are refused.';
do $$
begin
  if not exists (
    select from pg_catalog.pg_constraint c
    where c.conrelid = 'eventsourcing.tenants'::regclass and c.conname = 'tenants_status_check'
      and pg_catalog.pg_get_constraintdef(c.oid) like '%erased%'
  ) then
    alter table eventsourcing.tenants drop constraint tenants_status_check, add constraint tenants_status_check
      check (status in ('active', 'suspended', 'elsewhere', 'importing', 'moving', 'moved', 'erased'));
  end if;
end
$$;
select eventsourcing.protect_tenant_table('eventsourcing.tenants');
select eventsourcing.open_table('eventsourcing.tenants', 'all_tenants_read', 'select', 'eventsourcing_all_tenants_owner');
select eventsourcing.open_table('eventsourcing.tenants', 'all_tenants_status', 'update', 'eventsourcing_all_tenants_owner');
select eventsourcing.open_table('eventsourcing.tenants', 'runner_heads', 'select', 'eventsourcing_runner_owner');

-- The tenants that no work sees, or no projection. Not "if not exists", which locks the table even if the index exists.
do $$
begin
  if pg_catalog.to_regclass('eventsourcing.tenants_unseen') is null then
    create index tenants_unseen on eventsourcing.tenants (tenant_id) where status in ('importing', 'moving', 'moved', 'erased');
  end if;
end
$$;
