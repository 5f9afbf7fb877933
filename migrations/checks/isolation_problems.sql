-- Finds problems in the isolation of tenants in this database; no rows if there are none. The store calls it when it starts, and
-- health checks may call it at any time. It covers the store's own tables, every table for which protect_tenant_table was called,
-- every twin of a read model, and every table with a tenant_id on which eventsourcing_tenant was granted rights.
create or replace function eventsourcing.isolation_problems()
returns table (problem text, remedy text)
language sql
stable
set search_path = pg_catalog, pg_temp set jit = off
as $$
  with recursive tenants_role (oid) as (
    select 'eventsourcing_tenant'::regrole::oid
  ), of_users as materialized (
    -- relations of the application on which work for a tenant has any right: its own, by membership, by column, or as public
    select c.oid, c.relkind, a.atttypid
    from pg_class c
    cross join tenants_role t
    left join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
    where c.relkind in ('r', 'p', 'f') and c.relpersistence <> 't'
      and c.relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
      and c.relnamespace not in (select n.oid from pg_namespace n where n.nspname in ('eventsourcing', 'eventsourcing_rebuild'))
      and (has_any_column_privilege(t.oid, c.oid, 'select, insert, update, references')
        or has_table_privilege(t.oid, c.oid, 'delete, truncate, trigger'))
  ), tenant_table (oid) as (
    select c.oid from pg_class c
    where c.relkind in ('r', 'p') and (
      c.relnamespace = 'eventsourcing'::regnamespace and c.relname <> 'schema_files'
      or c.relnamespace in (select n.oid from pg_namespace n where n.nspname = 'eventsourcing_rebuild'))
    union
    select p.polrelid from pg_policy p where p.polname in ('tenant_access', 'tenant_isolation')
    union
    select u.oid from of_users u where u.relkind <> 'f' and u.atttypid = 'uuid'::regtype
    union
    select i.inhrelid from tenant_table t join pg_inherits i on i.inhparent = t.oid join pg_class c on c.oid = i.inhrelid
    where c.relkind in ('r', 'p')
  ), protected as materialized (
    select c.oid, c.oid::regclass::text as name, c.relrowsecurity, c.relforcerowsecurity, c.relowner, c.relacl
    from tenant_table t join pg_class c on c.oid = t.oid
  ), of_tenants as materialized (
    select p.* from protected p
    where exists (select from pg_attribute a where a.attrelid = p.oid and a.attname = 'tenant_id' and not a.attisdropped)
  ), policy as materialized (
    select p.polrelid, p.polname, p.polpermissive, p.polcmd, p.polroles,
      pg_get_expr(p.polqual, p.polrelid) as qual, pg_get_expr(p.polwithcheck, p.polrelid) as with_check
    from pg_policy p
  ), bound as (
    select '(tenant_id = (NULLIF(current_setting(''eventsourcing.tenant_id''::text, true), ''''::text))::uuid)'::text as expression
  ), expected (name, permissive) as (
    values ('tenant_access', true), ('tenant_isolation', false)
  ), group_role (name, oid) as (
    select r.rolname, r.oid from pg_roles r
    where r.rolname in ('eventsourcing_tenant', 'eventsourcing_runner', 'eventsourcing_all_tenants',
      'eventsourcing_runner_owner', 'eventsourcing_all_tenants_owner', 'eventsourcing_administrator',
      'eventsourcing_administrator_owner')
  ), sees_all (oid) as (
    -- roles for which row-level security shows the rows of more than the bound tenant
    select r.oid from pg_roles r
    where r.rolsuper or r.rolbypassrls or pg_has_role(r.oid, 'eventsourcing_all_tenants_owner', 'usage')
      or pg_has_role(r.oid, 'eventsourcing_runner_owner', 'usage')
  ), view_on (oid, relkind, relowner, invoker, source) as materialized (
    select distinct v.oid, v.relkind, v.relowner, exists (
        select from pg_options_to_table(v.reloptions) x
        where x.option_name = 'security_invoker' and x.option_value::boolean), d.refobjid
    from pg_depend d
    join pg_rewrite w on w.oid = d.objid
    join pg_class v on v.oid = w.ev_class and v.relkind in ('v', 'm')
    where d.refclassid = 'pg_class'::regclass and d.classid = 'pg_rewrite'::regclass and d.refobjid <> v.oid
      and v.relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
  ), reading (oid, relkind, of_table, shows_all, below) as (
    -- shows_all: all readers see all rows; below: a view on which it is built shows all rows to its owner
    select v.oid, v.relkind, p.name, v.shows, v.shows
    from of_tenants p
    join view_on w on w.source = p.oid
    cross join lateral (
      select w.oid, w.relkind, w.relkind = 'm' or not w.invoker and w.relowner in (select s.oid from sees_all s)
    ) v (oid, relkind, shows)
    union
    select w.oid, w.relkind, r.of_table,
      w.relkind = 'm' or not w.invoker and (r.below or w.relowner in (select s.oid from sees_all s)),
      w.relkind = 'm' or r.below or not w.invoker and w.relowner in (select s.oid from sees_all s)
    from reading r
    join view_on w on w.source = r.oid
  ), at_callers_rights (name, searches) as (
    -- functions that run with the rights of their caller on purpose; searches: also with the search path of their caller,
    -- because they change the role or the search path, bind a tenant, or work on tables of the application. These qualify all
    -- names with a schema.
    values ('bind_tenant', true), ('require_visible', true), ('begin_tenant', true), ('begin_projection', true), ('begin_across_tenants', true),
      ('begin_reading', true), ('stream_log', true), ('clean_session', true), ('clear_rebuild', true), ('switch_rebuild', true), ('hold_twins', true),
      ('start_shared_rebuild', true), ('switch_shared_rebuild', true), ('cancel_shared_rebuild', true),
      ('schema_version', false), ('lowest_program', false), ('protect_tenant_table', false), ('open_table', false),
      ('create_committing', false), ('register_read_model', false), ('unregister_read_model', false),
      ('register_shared_read_model', false), ('read_model_name', false), ('renew_twins', false),
      ('isolation_problems', false), ('keys_without_tenant', false),
      ('tables_of_tenants', false), ('carried_key', false), ('declare_table', false),
      ('add_placement', false), ('name_database', false), ('admit_tenant', false), ('exclude_tenant', false)
  ), routine as (
    -- functions that run with the rights of their owner
    select p.oid, p.oid::regprocedure::text as name, p.proname, p.prosecdef, p.proowner, p.proconfig,
      case when p.proname in (
        'record_cross_tenant_access', 'require_cross_tenant_access', 'recorded_access', 'is_administered', 'unseen_tenants', 'list_tenants', 'read_all_logs',
        'set_tenant_status', 'list_accesses', 'record_operation', 'complete_operation', 'list_cross_tenant_accesses', 'usage', 'usage_position', 'place_tenant',
        'replace_placement', 'moving_tenants', 'tenant_overviews',
        'list_projection_failures', 'resume_projections',
        'remove_old_accesses'
      ) then 'eventsourcing_all_tenants_owner'
      when p.proname in (
        'announce', 'register_projection', 'claim_projection', 'other_work_waits', 'retire_projection', 'clear_retired_projections',
        'projection_retired', 'projection_backlog', 'projection_dead_letters', 'remove_expired_keys', 'register_inline_projection',
        'begin_shared_rebuild', 'prepare_shared_switch', 'park_shared_rebuild', 'finish_shared_rebuild', 'end_shared_rebuild', 'shared_rebuild_lag',
        'taken_table', 'tenants_beyond_share'
      ) then 'eventsourcing_runner_owner'
      when p.proname in (
        'administer', 'administered_tenant', 'administered_tables', 'tenant_under_import', 'change_tenant_state', 'read_raw_log', 'stream_raw_log',
        'write_events', 'read_tenant_rows', 'write_tenant_rows', 'read_tenant_table', 'write_tenant_table',
        'hold_tenant', 'change_subject', 'open_transactions', 'set_quota', 'define_plan', 'list_plans', 'end_expired_move'
      ) then 'eventsourcing_administrator_owner'
      -- only the owner of everything may remove events
      when p.proname = 'purge_tenant' then (
        select n.nspowner::regrole::text from pg_namespace n where n.nspname = 'eventsourcing')
      else 'eventsourcing_tenant' end as owner
    from pg_proc p
    where p.pronamespace = 'eventsourcing'::regnamespace and p.prokind = 'f'
      and p.proname not in (select c.name from at_callers_rights c)
  )
  -- first, because a table with such a key cannot be protected
  select k.problem, k.remedy
  from eventsourcing.keys_without_tenant((select array_agg(p.oid) from of_tenants p)) k
  union all
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
      select bool_and(g.name in ('eventsourcing_all_tenants', 'eventsourcing_all_tenants_owner')
        -- the runner finds work in these tables only; their readable columns are checked below
        or g.name = 'eventsourcing_runner_owner' and p.name in (
          'eventsourcing.tenants', 'eventsourcing.events', 'eventsourcing.projections', 'eventsourcing.command_keys',
          'eventsourcing.projection_failures', 'eventsourcing.dead_letters'))
      from unnest(y.polroles) r (role) left join group_role g on g.oid = r.role
    ), false)
  union all
  -- row-level security does not apply to truncate
  select distinct format('%s may be truncated by %s', p.name, r.name),
    format('revoke truncate on %s from %I, public', p.name, r.name)
  from protected p, aclexplode(p.relacl) g, group_role r
  where g.privilege_type = 'TRUNCATE' and g.grantee in (0, r.oid) 
  union all
  select distinct format('view %s shows all rows of %s to everybody', r.oid::regclass, r.of_table),
    case r.relkind when 'v' then format('alter view %s set (security_invoker = true)', r.oid::regclass)
      else format('revoke all on %s from eventsourcing_tenant, eventsourcing_runner, public', r.oid::regclass) end
  from reading r
  where r.shows_all and (has_any_column_privilege('eventsourcing_tenant', r.oid, 'select')
    or has_any_column_privilege('eventsourcing_runner', r.oid, 'select'))
  union all
  select format('function %s runs with the rights of %s, which sees the rows of all tenants, and eventsourcing_tenant may call it',
      f.oid::regprocedure, f.proowner::regrole),
    format('revoke execute on routine %s from eventsourcing_tenant, public', f.oid::regprocedure)
  from pg_proc f
  cross join tenants_role t
  where f.prosecdef and f.proowner in (select s.oid from sees_all s)
    and f.pronamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'eventsourcing'::regnamespace)
    and has_function_privilege(t.oid, f.oid, 'execute') and has_schema_privilege(t.oid, f.pronamespace, 'usage')
    -- functions of extensions do not know these tables
    and not exists (
      select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = f.oid and d.deptype = 'e')
  union all
  select format('tenant_id of %s is %s, but row-level security needs uuid', u.oid::regclass, format_type(u.atttypid, null)),
    format('do $do$ begin alter table %s alter column tenant_id type uuid using tenant_id::uuid; '
      'perform eventsourcing.protect_tenant_table(%L); end $do$', u.oid::regclass, u.oid::regclass)
  from of_users u where u.atttypid is not null and u.atttypid <> 'uuid'::regtype and u.relkind <> 'f'
  union all
  select format('foreign table %s has rows of tenants and no row-level security', u.oid::regclass),
    format('revoke all on %s from eventsourcing_tenant, public', u.oid::regclass)
  from of_users u where u.atttypid is not null and u.relkind = 'f'
  union all
  select format('role %s is %s', r.rolname, concat_ws(' and ',
      case when r.rolsuper then 'a superuser' end, case when r.rolbypassrls then 'exempt from row-level security' end,
      case when r.rolcanlogin then 'able to log in' end)),
    format('alter role %I nosuperuser nobypassrls nologin', r.rolname)
  from pg_roles r
  where r.oid in (select g.oid from group_role g) and (r.rolsuper or r.rolbypassrls or r.rolcanlogin)
  union all
  select format('role %s owns table %s', c.relowner::regrole, c.oid::regclass),
    format('alter table %s owner to %s', c.oid::regclass, n.nspowner::regrole)
  from pg_class c join pg_namespace n on n.nspname = 'eventsourcing'
  where c.relkind in ('r', 'p', 'f', 'v', 'm') and c.relpersistence <> 't' and c.relowner in (select g.oid from group_role g)
  union all
  select format('role %s is a member of %s', m.member::regrole, m.roleid::regrole),
    format('revoke %s from %s', m.roleid::regrole, m.member::regrole)
  from pg_auth_members m where m.member in (select g.oid from group_role g)
    and not (m.member = 'eventsourcing_administrator_owner'::regrole and m.roleid = 'eventsourcing_tenant'::regrole)
  union all
  -- a role that may create objects in one of these schemas can put its own in the place of others
  select format('role %s may create in schema %s', g.name, n.nspname),
    format('revoke create on schema %I from %I, public', n.nspname, g.name)
  from group_role g cross join pg_namespace n
  where n.nspname in ('eventsourcing', 'eventsourcing_rebuild') and has_schema_privilege(g.oid, n.oid, 'create')
  union all
  -- the runner itself reads nothing, and the owner of its functions only the columns that they need
  select format('role %s may read %s of %s', r.name, string_agg(a.attname, ', ' order by a.attnum), p.name),
    format('do $do$ begin revoke select on %s from %I, public;%s end $do$', p.name, r.name, case
      when r.name = 'eventsourcing_runner_owner' and p.name = 'eventsourcing.events'
        then ' grant select (tenant_id, position, recorded_at) on eventsourcing.events to eventsourcing_runner_owner;'
      when r.name = 'eventsourcing_runner_owner' and p.name = 'eventsourcing.tenants'
        then ' grant select (tenant_id) on eventsourcing.tenants to eventsourcing_runner_owner;'
      when r.name = 'eventsourcing_runner_owner' and p.name = 'eventsourcing.command_keys'
        then ' grant select (tenant_id, key, expires_at) on eventsourcing.command_keys to eventsourcing_runner_owner;'
      when r.name = 'eventsourcing_runner_owner' and p.name = 'eventsourcing.projection_failures'
        then ' grant select (projection, version) on eventsourcing.projection_failures to eventsourcing_runner_owner;'
      when r.name = 'eventsourcing_runner_owner' and p.name = 'eventsourcing.dead_letters'
        then ' grant select (projection, version, rebuild, failed_at) on eventsourcing.dead_letters to eventsourcing_runner_owner;' end)
  from protected p
  join pg_attribute a on a.attrelid = p.oid and a.attnum > 0 and not a.attisdropped
  cross join (values ('eventsourcing_runner'), ('eventsourcing_all_tenants'), ('eventsourcing_runner_owner')) r (name)
  where p.name like 'eventsourcing.%' and p.name <> 'eventsourcing.placements' and p.name <> 'eventsourcing.read_models'
    and not (r.name = 'eventsourcing_runner_owner' and (
      p.name in ('eventsourcing.projections', 'eventsourcing.projection_versions')
      or p.name in ('eventsourcing.events', 'eventsourcing.tenants') and a.attname = 'tenant_id'
      or p.name = 'eventsourcing.events' and a.attname in ('position', 'recorded_at')
      or p.name = 'eventsourcing.command_keys' and a.attname in ('tenant_id', 'key', 'expires_at')
      or p.name = 'eventsourcing.projection_failures' and a.attname in ('projection', 'version')
      or p.name = 'eventsourcing.dead_letters' and a.attname in ('projection', 'version', 'rebuild', 'failed_at')))
    and has_column_privilege(r.name, p.oid, a.attnum, 'select')
  group by p.name, r.name
  union all
  -- causes of failures may quote values of a handler
  select format('role eventsourcing_tenant may read %s of eventsourcing.projection_failures',
      string_agg(a.attname, ', ' order by a.attnum)),
    'do $do$ begin revoke select on eventsourcing.projection_failures from eventsourcing_tenant, public; '
      'grant select (tenant_id, projection, version, rebuild, position, times, last_at) on eventsourcing.projection_failures '
      'to eventsourcing_tenant; end $do$'
  from pg_attribute a
  where a.attrelid = 'eventsourcing.projection_failures'::regclass and a.attname in ('code', 'message', 'stack')
    and has_column_privilege('eventsourcing_tenant', a.attrelid, a.attnum, 'select')
  having count(*) > 0
  union all
  select distinct format('%s can be changed or removed by %s', case c.relname when 'events' then 'events' when 'event_tags' then 'tags' else 'blocks' end, g.name),
    format('revoke update, delete, truncate on eventsourcing.%I from %s', c.relname, g.name)
  from pg_class c
  cross join lateral (
    select a.grantee, a.privilege_type from aclexplode(c.relacl) a
    union all
    select a.grantee, a.privilege_type from pg_attribute t, aclexplode(t.attacl) a where t.attrelid = c.oid
  ) a
  cross join lateral (select case a.grantee when 0 then 'public' else a.grantee::regrole::text end as name) g
  where c.oid in ('eventsourcing.events'::regclass, 'eventsourcing.event_tags'::regclass, 'eventsourcing.event_blocks'::regclass)
    and a.grantee <> c.relowner
    and a.privilege_type in ('UPDATE', 'DELETE', 'TRUNCATE')
  union all
  select format('function %s runs with the rights of its caller', r.name), format('alter function %s security definer', r.name)
  from routine r where not r.prosecdef
  union all
  select format('function %s is owned by %s', r.name, r.proowner::regrole),
    format('alter function %s owner to %I', r.name, r.owner)
  from routine r where r.proowner <> r.owner::regrole
  union all
  select format('function %s has no fixed search path', r.name),
    format('alter function %s set search_path = pg_catalog, pg_temp', r.name)
  from routine r where not coalesce(r.proconfig @> array['search_path=pg_catalog, pg_temp'], false)
  union all
  select format('function %s runs with the rights of its owner', p.oid::regprocedure),
    format('alter function %s security invoker', p.oid::regprocedure)
  from pg_proc p join at_callers_rights c on c.name = p.proname
  where p.pronamespace = 'eventsourcing'::regnamespace and p.prosecdef
  union all
  select format('function %s has no fixed search path', p.oid::regprocedure),
    format('alter function %s set search_path = pg_catalog, pg_temp', p.oid::regprocedure)
  from pg_proc p join at_callers_rights c on c.name = p.proname
  where p.pronamespace = 'eventsourcing'::regnamespace and not c.searches
    and not coalesce(p.proconfig @> array['search_path=pg_catalog, pg_temp'], false)
  union all
  select format('function %s, which looks across tenants, may be called by eventsourcing_tenant', r.name),
    format('revoke execute on function %s from eventsourcing_tenant, public', r.name)
  from routine r
  -- announce returns only tenants to announce again, and projections belong to the application; end_expired_move binds its tenant
  where r.owner <> 'eventsourcing_tenant' and r.proname not in ('announce', 'projection_retired', 'register_inline_projection', 'is_administered', 'end_expired_move')
    and has_function_privilege('eventsourcing_tenant', r.oid, 'execute')
  union all
  select format('function %s may be called by eventsourcing_runner, which must not see events', p.oid::regprocedure),
    format('revoke execute on function %s from eventsourcing_runner, public', p.oid::regprocedure)
  from pg_proc p
  where p.pronamespace = 'eventsourcing'::regnamespace and p.prokind = 'f' and p.proname not in (
      'announce', 'register_projection', 'claim_projection', 'other_work_waits', 'projection_backlog', 'projection_dead_letters', 'remove_expired_keys',
      'begin_projection', 'bind_tenant',
      'schema_version', 'lowest_program', 'clean_session')
    and has_function_privilege('eventsourcing_runner', p.oid, 'execute')
$$;

comment on function eventsourcing.isolation_problems() is 'Problems in the isolation of tenants, each with a remedy.';
