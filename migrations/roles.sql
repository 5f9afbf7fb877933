-- The schemas and the group roles of effect-eventsourcing.
--
-- Roles to grant to the login role of the application:
--   eventsourcing_tenant       the work of one tenant: it owns nothing but functions, may read and add events, and
--                              row-level security shows it the bound tenant alone.
--   eventsourcing_runner       finds work for projections: it may call the functions that claim, and read nothing itself.
--   eventsourcing_all_tenants  looks across tenants: it may call the functions that do, each of which asks for a recorded
--                              access, and read nothing itself. Only for programs that may look across tenants.
--
-- Roles to grant to nobody: they own the functions that look at all tenants, and their rights are used through them.
--   eventsourcing_runner_owner       sees which tenants have events that a projection has not seen.
--   eventsourcing_all_tenants_owner  sees all events.
--
-- No role can log in, and none is a superuser, an owner of tables or exempt from row-level security.

do $$
declare
  group_role text;
begin
  foreach group_role in array array[
    'eventsourcing_tenant', 'eventsourcing_runner', 'eventsourcing_all_tenants',
    'eventsourcing_runner_owner', 'eventsourcing_all_tenants_owner'
  ] loop
    if not exists (select from pg_catalog.pg_roles where rolname = group_role) then
      begin
        execute pg_catalog.format('create role %I nologin', group_role);
      exception
        -- roles belong to the whole cluster: another database of it may be migrated at the same moment
        when duplicate_object or unique_violation then null;
      end;
    end if;
    -- an owner that is not a superuser must be able to hand functions over to the role
    if not (select rolsuper from pg_catalog.pg_roles where rolname = current_user) then
      begin
        execute pg_catalog.format('grant %I to current_user', group_role);
      exception
        when insufficient_privilege then null; -- a superuser made the role: it must have granted it as well
      end;
    end if;
  end loop;
end
$$;

create schema if not exists eventsourcing;

comment on schema eventsourcing is 'Event store of effect-eventsourcing: one ordered, gapless log per tenant.';

revoke all on schema eventsourcing from public;

grant usage on schema eventsourcing to eventsourcing_tenant, eventsourcing_runner, eventsourcing_all_tenants,
  eventsourcing_runner_owner, eventsourcing_all_tenants_owner;

-- Read models that can be rebuilt beside themselves: each has a twin of the same name in eventsourcing_rebuild.
create schema if not exists eventsourcing_rebuild;

comment on schema eventsourcing_rebuild is 'Twins of the read models, filled during a rebuild.';

revoke all on schema eventsourcing_rebuild from public;

grant usage on schema eventsourcing_rebuild to eventsourcing_tenant, eventsourcing_all_tenants;
