-- What is wrong with the isolation of tenants in this database: no rows if nothing is. The store asks when it starts,
-- and health checks may ask at any time. Covers the store's own tables and every table that protect_tenant_table
-- was called for.
create or replace function eventsourcing.isolation_problems()
returns table (problem text, remedy text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  with protected as (
    select c.oid, c.oid::regclass::text as name, c.relrowsecurity, c.relforcerowsecurity, c.relowner
    from pg_class c
    where c.relkind in ('r', 'p') and (
      c.relnamespace = 'eventsourcing'::regnamespace and c.relname <> 'migrations'
      or exists (select from pg_policy p where p.polrelid = c.oid and p.polname = 'tenant_isolation')
      or exists (select from pg_inherits i join pg_policy p on p.polrelid = i.inhparent
                 where i.inhrelid = c.oid and p.polname = 'tenant_isolation')
    )
  ), of_tenants as (
    select p.* from protected p
    where exists (select from pg_attribute a where a.attrelid = p.oid and a.attname = 'tenant_id' and not a.attisdropped)
  ), policy as (
    select p.polrelid, p.polname, p.polpermissive, p.polcmd, p.polroles,
      pg_get_expr(p.polqual, p.polrelid) as qual, pg_get_expr(p.polwithcheck, p.polrelid) as with_check
    from pg_policy p
  ), bound as (
    select '(tenant_id = (NULLIF(current_setting(''eventsourcing.tenant_id''::text, true), ''''::text))::uuid)'::text as expression
  ), expected (name, permissive) as (
    values ('tenant_access', true), ('tenant_isolation', false)
  )
  select format('row-level security of %s is off', p.name), format('alter table %s enable row level security', p.name)
  from protected p where not p.relrowsecurity
  union all
  select format('row-level security of %s is not forced on its owner', p.name),
    format('alter table %s force row level security', p.name)
  from protected p where not p.relforcerowsecurity
  union all
  select format('policy %s of %s is missing or changed', e.name, p.name),
    format('select eventsourcing.protect_tenant_table(%L)', p.name)
  from of_tenants p cross join expected e cross join bound b
  where not exists (
    select from policy y
    where y.polrelid = p.oid and y.polname = e.name and y.polpermissive = e.permissive and y.polcmd = '*'
      and y.polroles = array['eventsourcing_tenant'::regrole::oid]
      and y.qual = b.expression and y.with_check = b.expression
  )
  union all
  select format('policy %s of %s lets more rows through', y.polname, p.name), format('drop policy %I on %s', y.polname, p.name)
  from of_tenants p join policy y on y.polrelid = p.oid
  where y.polpermissive and y.polname <> 'tenant_access'
    and not coalesce((
      select bool_and(r.role in (select oid from pg_roles
        where rolname in ('eventsourcing_all_tenants', 'eventsourcing_runner')))
      from unnest(y.polroles) r (role)
    ), false)
  union all
  select format('role %s is %s', r.rolname, concat_ws(' and ',
      case when r.rolsuper then 'a superuser' end, case when r.rolbypassrls then 'exempt from row-level security' end,
      case when r.rolcanlogin then 'able to log in' end)),
    format('alter role %I nosuperuser nobypassrls nologin', r.rolname)
  from pg_roles r
  where r.rolname in ('eventsourcing_tenant', 'eventsourcing_runner', 'eventsourcing_all_tenants')
    and (r.rolsuper or r.rolbypassrls or r.rolcanlogin)
  union all
  select format('role %s owns table %s', p.relowner::regrole, p.name), format('alter table %s owner to the role that migrates', p.name)
  from protected p where p.relowner in ('eventsourcing_tenant'::regrole, 'eventsourcing_all_tenants'::regrole)
  union all
  select format('role eventsourcing_tenant is a member of %s', m.roleid::regrole),
    format('revoke %s from eventsourcing_tenant', m.roleid::regrole)
  from pg_auth_members m where m.member = 'eventsourcing_tenant'::regrole
  union all
  select format('events can be changed or removed by %s', r.name),
    format('revoke update, delete, truncate on eventsourcing.events from public, %s', r.name)
  from (values ('eventsourcing_tenant'), ('eventsourcing_all_tenants')) r (name)
  where has_table_privilege(r.name, 'eventsourcing.events', 'update, delete, truncate')
  union all
  select format('function %s does not run as its group role', p.oid::regprocedure), 'run the migrations again'
  from pg_proc p
  where p.pronamespace = 'eventsourcing'::regnamespace
    and p.proname in ('append', 'read_stream', 'read_log', 'position_at', 'stream_version', 'log_position',
      'provision_tenant', 'tenant_status', 'list_tenants', 'read_all_logs', 'set_tenant_status')
    and (not p.prosecdef or p.proowner not in ('eventsourcing_tenant'::regrole, 'eventsourcing_all_tenants'::regrole))
$$;
comment on function eventsourcing.isolation_problems() is 'What is wrong with the isolation of tenants, and what to do about it.';
revoke all on function eventsourcing.isolation_problems() from public;
grant execute on function eventsourcing.isolation_problems() to eventsourcing_tenant, eventsourcing_all_tenants;
