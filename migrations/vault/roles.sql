-- The schema of the key vault, and the role that a program needs to use it: eventsourcing_vault. Grant it to the login role of the
-- application in this database. It has no right on events, and the roles of the event store have none on the vault.

-- A backup of the events must not have the keys: restoring it would bring back everybody who was forgotten since.
do $$
begin
  if exists (
    select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'eventsourcing' and c.relname = 'events'
  ) then
    raise exception 'this database has events, and a key vault must be apart from them'
      using errcode = 'ES014', hint = 'create a database of its own for the vault';
  end if;
end
$$;

do $$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'eventsourcing_vault') then
    begin
      create role eventsourcing_vault nologin;
      comment on role eventsourcing_vault is 'Key vault: the work of a program that seals and opens personal fields.';
    exception
      -- roles belong to the whole cluster, and another of its databases may be migrated at the same time
      when duplicate_object or unique_violation then null;
    end;
  end if;
end
$$;

create schema if not exists eventsourcing_vault;

comment on schema eventsourcing_vault is 'Key vault of effect-eventsourcing: wrapped keys of persons and tenants, and records of the forgotten.';

revoke all on schema eventsourcing_vault from public;

grant usage on schema eventsourcing_vault to eventsourcing_vault;
