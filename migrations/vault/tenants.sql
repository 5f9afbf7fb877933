create table if not exists eventsourcing_vault.tenants (
  tenant_id uuid not null,
  constraint tenants_pkey primary key (tenant_id)
);
comment on table eventsourcing_vault.tenants is 'Tenants with keys or fences. Every change of them locks the row of the tenant.';
