-- The schemas and the group roles of effect-eventsourcing.
--
-- Grant these roles to the login role of the application:
--   eventsourcing_tenant       does the work of one tenant: it owns only functions, may read and add events, and row-level
--                              security shows it only the bound tenant.
--   eventsourcing_runner       finds work for projections: it may call the functions that claim work, and reads nothing itself.
--   eventsourcing_all_tenants  reads across tenants: it may call the functions that do so, each of which requires a recorded
--                              access, and reads nothing itself. Only for programs that may read across tenants.
--   eventsourcing_administrator  exports, imports, moves and erases tenants: it may call the functions that do so, each
--                              of which requires a recorded access, and reads nothing itself. Only for programs of operators.
--
-- Grant these roles to nobody. They own the functions that read all tenants, which run with their rights:
--   eventsourcing_runner_owner       sees the tenants with events that a projection has not handled.
--   eventsourcing_all_tenants_owner  sees all events.
--   eventsourcing_administrator_owner  owns the functions for administration. It is a member of eventsourcing_tenant, so that
--                              row-level security shows it only the tenant that is administered.
--
-- No role can log in, and none is a superuser, an owner of tables or exempt from row-level security.

do $$
declare
  group_role text;
  purpose text;
  -- since PostgreSQL 16 the creator of a role is its administrator, but a member only on request
  graded constant boolean := pg_catalog.current_setting('server_version_num')::integer >= 160000;
  options constant text := case when graded then ' with inherit true, set true' else '' end;
  missing text[] := '{}';
  membership text := '';
begin
  for group_role, purpose in values
    ('eventsourcing_tenant', 'Event store: the work of one tenant.'),
    ('eventsourcing_runner', 'Event store: calls the functions that find work for projections.'),
    ('eventsourcing_all_tenants', 'Event store: calls the functions that look across tenants.'),
    ('eventsourcing_administrator', 'Event store: calls the functions that administer tenants.'),
    ('eventsourcing_runner_owner', 'Event store: owns the functions that find work. Not to be granted.'),
    ('eventsourcing_all_tenants_owner', 'Event store: owns the functions that look across tenants. Not to be granted.'),
    ('eventsourcing_administrator_owner', 'Event store: owns the functions that administer tenants. Not to be granted.')
  loop
    if not exists (select from pg_catalog.pg_roles where rolname = group_role) then
      begin
        execute pg_catalog.format('create role %I nologin', group_role);
        execute pg_catalog.format('comment on role %I is %L', group_role, purpose);
      exception
        -- roles belong to the whole cluster, and another of its databases may be migrated at the same time
        when duplicate_object or unique_violation then null;
      end;
    end if;
    -- An owner that is not a superuser must be able to give functions to the role, and to replace them later.
    if not pg_catalog.pg_has_role(group_role, 'usage')
      or not pg_catalog.pg_has_role(group_role, case when graded then 'set' else 'member' end)
    then
      begin
        execute pg_catalog.format('grant %I to current_user%s', group_role, options);
      exception
        when insufficient_privilege then null;
      end;
      if not pg_catalog.pg_has_role(group_role, 'usage')
        or not pg_catalog.pg_has_role(group_role, case when graded then 'set' else 'member' end)
      then
        missing := missing || pg_catalog.quote_ident(group_role);
      end if;
    end if;
  end loop;
  if not pg_catalog.pg_has_role('eventsourcing_administrator_owner', 'eventsourcing_tenant', 'usage') then
    begin
      grant eventsourcing_tenant to eventsourcing_administrator_owner;
    exception
      -- another database of the cluster may be migrated at the same time; "tuple concurrently updated" is an internal error
      when unique_violation or internal_error then null;
      when insufficient_privilege then membership := 'grant eventsourcing_tenant to eventsourcing_administrator_owner; ';
    end;
  end if;
  if missing <> '{}' or membership <> '' then
    raise exception 'another role created the group roles, and % lacks: %', current_user,
      pg_catalog.concat_ws(', ', nullif(pg_catalog.array_to_string(missing, ', '), ''),
        case when membership <> '' then 'the right to grant eventsourcing_tenant' end)
      using errcode = 'insufficient_privilege', hint = pg_catalog.concat(
        'As a superuser, or as a role with the admin option on them, run: ',
        case when missing <> '{}' then pg_catalog.format('grant %s to %I%s; %s', pg_catalog.array_to_string(missing, ', '),
          current_user, options,
          case when graded then '' else pg_catalog.format('alter role %I inherit; ', current_user) end) end,
        membership, 'then run the migrations again');
  end if;
end
$$;

create schema if not exists eventsourcing;

comment on schema eventsourcing is 'Event store of effect-eventsourcing: one ordered, gapless log per tenant.';

revoke all on schema eventsourcing from public;

grant usage on schema eventsourcing to eventsourcing_tenant, eventsourcing_runner, eventsourcing_all_tenants,
  eventsourcing_administrator, eventsourcing_runner_owner, eventsourcing_all_tenants_owner, eventsourcing_administrator_owner;

-- A read model is rebuilt in a twin of the same name in eventsourcing_rebuild.
create schema if not exists eventsourcing_rebuild;

comment on schema eventsourcing_rebuild is 'Twins of the read models, filled during a rebuild.';

revoke all on schema eventsourcing_rebuild from public;

grant usage on schema eventsourcing_rebuild to eventsourcing_tenant, eventsourcing_all_tenants;
