-- The owner and the callers of each routine, and the rights of each role on each table. A security review reads this file and
-- tables/. It is applied last, every time, and changes only rights that differ.
--
-- A routine with a role as its owner runs with the rights of that role (security definer): work for a tenant runs as
-- eventsourcing_tenant even if a superuser is connected, and row-level security applies to it. The others run with the rights
-- of their caller, because they change the role of the transaction, commit, work on tables of the application, or are only
-- for the owner of the database. One exception: purge_tenant belongs to the owner of the database and runs with the owner's rights,
-- so that no role may remove events. eventsourcing_administrator_owner also has all rights of eventsourcing_tenant, as a member.

do $$
declare
  wanted  record;
  routine record;
  changes text[] := '{}';
  change  text;
  listed  text[] := '{}';
  unlisted text;
begin
  for wanted in
    select list.name, list.owner,
      coalesce((select pg_catalog.array_agg(c order by c) from pg_catalog.unnest(list.callers::text[]) c), '{}') as callers
    from (values
      -- name, owner (NULL: the owner of the database, and the caller's rights), callers
      ('add_dead_letter', 'eventsourcing_tenant', '{eventsourcing_tenant,eventsourcing_all_tenants}'),
      ('add_placement', null, '{}'),
      ('administer', 'eventsourcing_administrator_owner', '{eventsourcing_administrator_owner}'),
      ('administered_tables', 'eventsourcing_administrator_owner', '{eventsourcing_administrator}'),
      ('administered_tenant', 'eventsourcing_administrator_owner', '{eventsourcing_administrator}'),
      ('carried_key', null, '{eventsourcing_administrator_owner}'),
      ('change_subject', 'eventsourcing_administrator_owner', '{eventsourcing_administrator}'),
      ('change_tenant_state', 'eventsourcing_administrator_owner', '{eventsourcing_administrator}'),
      ('declare_table', null, '{}'),
      ('define_plan', 'eventsourcing_administrator_owner', '{eventsourcing_administrator}'),
      ('hold_tenant', 'eventsourcing_administrator_owner', '{eventsourcing_administrator}'),
      ('list_plans', 'eventsourcing_administrator_owner', '{eventsourcing_administrator}'),
      ('moving_tenants', 'eventsourcing_all_tenants_owner', '{eventsourcing_administrator}'),
      ('open_transactions', 'eventsourcing_administrator_owner', '{eventsourcing_administrator}'),
      ('moved_to', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('purge_tenant', null, '{eventsourcing_administrator}'),
      ('replace_placement', 'eventsourcing_all_tenants_owner', '{eventsourcing_administrator}'),
      ('read_raw_log', 'eventsourcing_administrator_owner', '{eventsourcing_administrator}'),
      ('stream_raw_log', 'eventsourcing_administrator_owner', '{eventsourcing_administrator}'),
      ('read_tenant_rows', 'eventsourcing_administrator_owner', '{eventsourcing_administrator}'),
      ('read_tenant_table', 'eventsourcing_administrator_owner', '{eventsourcing_administrator}'),
      ('set_quota', 'eventsourcing_administrator_owner', '{eventsourcing_administrator}'),
      ('tenant_overviews', 'eventsourcing_all_tenants_owner', '{eventsourcing_administrator}'),
      ('tables_of_tenants', null, '{eventsourcing_administrator_owner}'),
      ('tenant_under_import', 'eventsourcing_administrator_owner', '{eventsourcing_administrator_owner}'),
      ('write_events', 'eventsourcing_administrator_owner', '{eventsourcing_administrator}'),
      ('write_tenant_rows', 'eventsourcing_administrator_owner', '{eventsourcing_administrator}'),
      ('write_tenant_table', 'eventsourcing_administrator_owner', '{eventsourcing_administrator}'),
      ('admit_tenant', null, '{}'),
      ('advance_projection', 'eventsourcing_tenant', '{eventsourcing_tenant,eventsourcing_all_tenants}'),
      ('announce', 'eventsourcing_runner_owner', '{eventsourcing_tenant}'),
      ('announce_committing', null, '{eventsourcing_tenant}'),
      ('append', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('append_committing', null, '{eventsourcing_tenant}'),
      ('append_one', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('append_one_committing', null, '{eventsourcing_tenant}'),
      ('begin_across_tenants', null, '{eventsourcing_all_tenants}'),
      ('begin_projection', null, '{eventsourcing_runner}'),
      ('begin_reading', null, '{eventsourcing_tenant}'),
      ('forgotten_counts', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('forgotten_subjects', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('begin_tenant', null, '{eventsourcing_tenant}'),
      ('begin_shared_rebuild', 'eventsourcing_runner_owner', '{eventsourcing_all_tenants,eventsourcing_runner_owner}'),
      ('bind_rebuild', 'eventsourcing_tenant', '{eventsourcing_tenant,eventsourcing_all_tenants}'),
      ('bind_tenant', null, '{eventsourcing_tenant,eventsourcing_runner,eventsourcing_all_tenants}'),
      ('cancel_rebuild', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('cancel_shared_rebuild', null, '{eventsourcing_all_tenants}'),
      ('claim_projection', 'eventsourcing_runner_owner', '{eventsourcing_runner}'),
      ('clean_session', null, '{eventsourcing_tenant,eventsourcing_runner,eventsourcing_all_tenants,eventsourcing_administrator}'),
      ('clear_retired_projections', 'eventsourcing_runner_owner', '{eventsourcing_runner_owner}'),
      ('clear_rebuild', null, '{eventsourcing_tenant}'),
      ('command_outcomes', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('create_committing', null, '{}'),
      ('end_expired_move', 'eventsourcing_administrator_owner', '{eventsourcing_tenant}'),
      ('event_hash', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('event_position', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('exclude_tenant', null, '{}'),
      ('fail_projection', 'eventsourcing_tenant', '{eventsourcing_tenant,eventsourcing_all_tenants}'),
      ('end_shared_rebuild', 'eventsourcing_runner_owner', '{eventsourcing_all_tenants}'),
      ('finish_rebuild', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('finish_shared_rebuild', 'eventsourcing_runner_owner', '{eventsourcing_all_tenants}'),
      ('hash_chain_start', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('hold_twins', null, '{eventsourcing_tenant,eventsourcing_all_tenants}'),
      ('isolation_problems', null, '{eventsourcing_tenant,eventsourcing_all_tenants,eventsourcing_administrator}'),
      ('is_administered', 'eventsourcing_all_tenants_owner', '{eventsourcing_tenant,eventsourcing_all_tenants}'),
      ('keep_failure_cause', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('keys_without_tenant', null, '{eventsourcing_tenant,eventsourcing_all_tenants,eventsourcing_administrator}'),
      ('list_accesses', 'eventsourcing_all_tenants_owner', '{eventsourcing_all_tenants,eventsourcing_all_tenants_owner}'),
      ('list_cross_tenant_accesses', 'eventsourcing_all_tenants_owner', '{eventsourcing_all_tenants}'),
      ('list_dead_letters', 'eventsourcing_tenant', '{eventsourcing_tenant,eventsourcing_all_tenants}'),
      ('list_placements', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('list_projection_failures', 'eventsourcing_all_tenants_owner', '{eventsourcing_all_tenants}'),
      ('list_tenants', 'eventsourcing_all_tenants_owner', '{eventsourcing_all_tenants}'),
      ('live_writes', 'eventsourcing_tenant', '{eventsourcing_tenant,eventsourcing_all_tenants}'),
      ('load_snapshot', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('load_streams', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('lock_live_projection', 'eventsourcing_tenant', '{eventsourcing_tenant,eventsourcing_all_tenants}'),
      ('lowest_program', null, '{public}'),
      ('list_streams', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('log_head', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('matching_positions', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('name_database', null, '{}'),
      ('open_table', null, '{}'),
      ('other_work_waits', 'eventsourcing_runner_owner', '{eventsourcing_runner}'),
      ('park_shared_rebuild', 'eventsourcing_runner_owner', '{eventsourcing_all_tenants}'),
      ('place_tenant', 'eventsourcing_all_tenants_owner', '{eventsourcing_all_tenants}'),
      ('position_at', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('positions_of_types', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('prepare_shared_switch', 'eventsourcing_runner_owner', '{eventsourcing_all_tenants}'),
      ('projection_status', 'eventsourcing_tenant', '{eventsourcing_tenant,eventsourcing_all_tenants}'),
      ('protect_tenant_table', null, '{}'),
      ('provision_tenant', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('read_all_logs', 'eventsourcing_all_tenants_owner', '{eventsourcing_all_tenants}'),
      ('read_log', 'eventsourcing_tenant', '{eventsourcing_tenant,eventsourcing_all_tenants}'),
      ('read_stream', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('projection_backlog', 'eventsourcing_runner_owner', '{eventsourcing_runner}'),
      ('projection_dead_letters', 'eventsourcing_runner_owner', '{eventsourcing_runner}'),
      ('quota_refusal', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('projection_retired', 'eventsourcing_runner_owner', '{eventsourcing_tenant}'),
      ('rebuild_problem', 'eventsourcing_tenant', '{eventsourcing_tenant,eventsourcing_all_tenants}'),
      ('complete_operation', 'eventsourcing_all_tenants_owner', '{eventsourcing_all_tenants,eventsourcing_administrator}'),
      ('record_operation', 'eventsourcing_all_tenants_owner', '{eventsourcing_all_tenants,eventsourcing_administrator,eventsourcing_all_tenants_owner}'),
      ('record_cross_tenant_access', 'eventsourcing_all_tenants_owner', '{eventsourcing_all_tenants,eventsourcing_administrator}'),
      ('recorded_access', 'eventsourcing_all_tenants_owner', '{eventsourcing_administrator_owner}'),
      ('read_model_name', null, '{}'),
      ('register_inline_projection', 'eventsourcing_runner_owner', '{eventsourcing_tenant}'),
      ('register_projection', 'eventsourcing_runner_owner', '{eventsourcing_runner}'),
      ('register_read_model', null, '{}'),
      ('register_shared_read_model', null, '{}'),
      ('remove_dead_letter', 'eventsourcing_tenant', '{eventsourcing_tenant,eventsourcing_all_tenants}'),
      ('remove_expired_keys', 'eventsourcing_runner_owner', '{eventsourcing_runner}'),
      ('remove_old_accesses', 'eventsourcing_all_tenants_owner', '{eventsourcing_all_tenants}'),
      ('remove_snapshot', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('renew_twins', null, '{eventsourcing_tenant,eventsourcing_all_tenants}'),
      ('require_cross_tenant_access', 'eventsourcing_all_tenants_owner', '{eventsourcing_all_tenants,eventsourcing_administrator_owner,eventsourcing_all_tenants_owner,eventsourcing_runner_owner}'),
      ('require_visible', null, '{eventsourcing_tenant,eventsourcing_all_tenants}'),
      ('pause_projection', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('resume_projection', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('resume_projections', 'eventsourcing_all_tenants_owner', '{eventsourcing_all_tenants}'),
      ('retire_projection', 'eventsourcing_runner_owner', '{eventsourcing_all_tenants}'),
      ('save_snapshot', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('schema_version', null, '{public}'),
      ('set_tenant_status', 'eventsourcing_all_tenants_owner', '{eventsourcing_all_tenants}'),
      ('shared_rebuild_lag', 'eventsourcing_runner_owner', '{eventsourcing_all_tenants,eventsourcing_runner_owner}'),
      ('start_hash_chain', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('start_rebuild', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('start_shared_rebuild', null, '{eventsourcing_all_tenants}'),
      ('stream_log', null, '{eventsourcing_tenant}'),
      ('stream_version', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('streams_end_with', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('summarise_blocks', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('switch_rebuild', null, '{eventsourcing_tenant}'),
      ('switch_shared_rebuild', null, '{eventsourcing_all_tenants}'),
      ('taken_table', 'eventsourcing_runner_owner', '{eventsourcing_runner_owner}'),
      ('tenant_placement', 'eventsourcing_tenant', '{eventsourcing_tenant}'),
      ('tenant_status', 'eventsourcing_tenant', '{eventsourcing_tenant,eventsourcing_all_tenants}'),
      ('tenants_beyond_share', 'eventsourcing_runner_owner', '{eventsourcing_runner_owner}'),
      ('twin_difference', 'eventsourcing_tenant', '{eventsourcing_tenant,eventsourcing_all_tenants}'),
      ('twins_of', 'eventsourcing_tenant', '{eventsourcing_tenant,eventsourcing_runner_owner,eventsourcing_all_tenants}'),
      ('unregister_read_model', null, '{}'),
      ('unseen_tenants', 'eventsourcing_all_tenants_owner', '{eventsourcing_all_tenants_owner,eventsourcing_runner_owner}'),
      ('usage', 'eventsourcing_all_tenants_owner', '{eventsourcing_all_tenants}'),
      ('usage_position', 'eventsourcing_all_tenants_owner', '{eventsourcing_all_tenants_owner}')
    ) as list (name, owner, callers)
  loop
    for routine in
      select p.oid::regprocedure::text as signature,
        wanted.owner is null or p.proowner = wanted.owner::regrole as owned,
        coalesce((
          select pg_catalog.array_agg(g.name order by g.name)
          from pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a
          cross join lateral (select case a.grantee when 0 then 'public' else a.grantee::regrole::text end) g (name)
          -- the owner of the database need not be listed; a role that owns a routine must be, to call it
          where wanted.owner is not null or a.grantee <> p.proowner
        ), '{}') as callers
      from pg_catalog.pg_proc p
      where p.pronamespace = 'eventsourcing'::regnamespace and p.proname = wanted.name
    loop
      if not routine.owned then
        changes := changes || pg_catalog.format('alter routine %s owner to %I', routine.signature, wanted.owner);
      end if;
      if not routine.owned or routine.callers <> wanted.callers then
        changes := changes || pg_catalog.format(
          'revoke all on routine %s from public, eventsourcing_tenant, eventsourcing_runner, eventsourcing_all_tenants, '
            'eventsourcing_administrator, eventsourcing_runner_owner, eventsourcing_all_tenants_owner, '
            'eventsourcing_administrator_owner',
          routine.signature);
        if wanted.callers <> '{}' then
          changes := changes || pg_catalog.format('grant execute on routine %s to %s', routine.signature,
            pg_catalog.array_to_string(wanted.callers, ', '));
        end if;
      end if;
    end loop;
    if not found then
      raise exception 'privileges.sql lists routine %, which does not exist', wanted.name;
    end if;
    listed := listed || wanted.name;
  end loop;

  select p.oid::regprocedure::text into unlisted from pg_catalog.pg_proc p
  where p.pronamespace = 'eventsourcing'::regnamespace and p.proname <> all (listed) limit 1;
  if found then
    raise exception 'privileges.sql does not list routine %', unlisted;
  end if;

  if changes <> '{}' then
    -- to be given a routine, a role must be allowed to create one
    grant create on schema eventsourcing to eventsourcing_tenant, eventsourcing_runner_owner, eventsourcing_all_tenants_owner,
      eventsourcing_administrator_owner;
    foreach change in array changes loop
      execute change;
    end loop;
    revoke create on schema eventsourcing from eventsourcing_tenant, eventsourcing_runner_owner, eventsourcing_all_tenants_owner,
      eventsourcing_administrator_owner;
  end if;
end
$$;

-- Tables. The log is append-only by grant: only the owner may change or remove an event.
do $$
declare
  wanted record;
  given  record;
begin
  for wanted in
    with list (name, role, privilege, columns) as (
      values
      ('command_keys', 'eventsourcing_tenant', 'select, insert, update, delete', ''),
      ('command_keys', 'eventsourcing_runner_owner', 'delete', ''),
      ('command_keys', 'eventsourcing_runner_owner', 'select', 'tenant_id, key, expires_at'),
      -- locks the row
      ('command_keys', 'eventsourcing_runner_owner', 'update', 'expires_at'),
      ('cross_tenant_accesses', 'eventsourcing_all_tenants_owner', 'select, insert, delete', ''),
      ('cross_tenant_accesses', 'eventsourcing_all_tenants_owner', 'update', 'completed_at, outcome'),
      ('dead_letters', 'eventsourcing_tenant', 'select, insert, delete', ''),
      ('dead_letters', 'eventsourcing_tenant', 'update', 'rebuild'),
      -- a rebuild across tenants starts over, or replaces the live read model
      ('dead_letters', 'eventsourcing_runner_owner', 'delete', ''),
      ('dead_letters', 'eventsourcing_runner_owner', 'update', 'rebuild'),
      ('dead_letters', 'eventsourcing_runner_owner', 'select', 'projection, version, rebuild, failed_at'),
      ('dead_letters', 'eventsourcing_all_tenants_owner', 'select', 'tenant_id, rebuild'),
      ('declared_tables', 'eventsourcing_administrator_owner', 'select', ''),
      ('discarded_dead_letters', 'eventsourcing_tenant', 'select, insert', ''),
      ('discarded_dead_letters', 'eventsourcing_administrator_owner', 'delete', ''),
      ('event_blocks', 'eventsourcing_tenant', 'select, insert', ''),
      ('event_tags', 'eventsourcing_tenant', 'select, insert', ''),
      ('events', 'eventsourcing_tenant', 'select, insert', ''),
      ('events', 'eventsourcing_runner_owner', 'select', 'tenant_id, position, recorded_at'),
      ('events', 'eventsourcing_all_tenants_owner', 'select', ''),
      ('placements', 'eventsourcing_tenant', 'select', ''),
      ('placements', 'eventsourcing_all_tenants_owner', 'select', ''),
      ('plans', 'eventsourcing_tenant', 'select', ''),
      ('plans', 'eventsourcing_administrator_owner', 'select, insert, update', ''),
      -- for operators: work for a tenant writes causes and cannot read them
      ('projection_failures', 'eventsourcing_tenant', 'insert, delete', ''),
      ('projection_failures', 'eventsourcing_tenant', 'select', 'tenant_id, projection, version, rebuild, position, times, last_at'),
      ('projection_failures', 'eventsourcing_tenant', 'update', 'kind, code, message, stack, times, last_at'),
      ('projection_failures', 'eventsourcing_all_tenants_owner', 'select', ''),
      -- those of a retired version go
      ('projection_failures', 'eventsourcing_runner_owner', 'delete', ''),
      ('projection_failures', 'eventsourcing_runner_owner', 'select', 'projection, version'),
      ('projection_versions', 'eventsourcing_runner_owner', 'select, insert, update', ''),
      ('projection_versions', 'eventsourcing_administrator_owner', 'select', 'projection, version, tables'),
      ('projections', 'eventsourcing_tenant', 'select, insert, update, delete', ''),
      ('projections', 'eventsourcing_runner_owner', 'select, insert, update, delete', ''),
      ('projections', 'eventsourcing_all_tenants_owner', 'select', ''),
      ('projections', 'eventsourcing_all_tenants_owner', 'update', 'parked, attempts, waited_ms, retry_at'),
      ('read_models', 'eventsourcing_tenant', 'select', ''),
      ('read_models', 'eventsourcing_all_tenants', 'select', ''),
      ('read_models', 'eventsourcing_all_tenants_owner', 'select', ''),
      ('snapshots', 'eventsourcing_tenant', 'select, insert, update, delete', ''),
      ('subjects', 'eventsourcing_tenant', 'select', ''),
      ('subjects', 'eventsourcing_administrator_owner', 'insert', ''),
      ('subjects', 'eventsourcing_administrator_owner', 'update', 'number, forgotten, begun, hold'),
      ('tenant_directory', 'eventsourcing_tenant', 'select', ''),
      ('tenant_directory', 'eventsourcing_all_tenants_owner', 'select, insert, update', ''),
      ('tenants', 'eventsourcing_tenant', 'select', ''),
      ('tenants', 'eventsourcing_tenant', 'insert', 'tenant_id'),
      -- locks the row, and starts the hash chain
      ('tenants', 'eventsourcing_tenant', 'update', 'lockable, chained_from'),
      ('tenants', 'eventsourcing_administrator_owner', 'insert', 'tenant_id, status, undertaking'),
      ('tenants', 'eventsourcing_administrator_owner', 'update', 'status, undertaking, hold, origin, quota, chained_from, forgotten_subjects'),
      ('tenants', 'eventsourcing_runner_owner', 'select', 'tenant_id'),
      ('tenants', 'eventsourcing_all_tenants_owner', 'select', ''),
      ('tenants', 'eventsourcing_all_tenants_owner', 'update', 'status')
    ), wanted_right (name, entry) as (
      select l.name, pg_catalog.concat_ws(' ', l.role, pg_catalog.upper(p.privilege), c.name)
      from list l
      cross join lateral pg_catalog.regexp_split_to_table(l.privilege, ', ') p (privilege)
      cross join lateral pg_catalog.regexp_split_to_table(l.columns, ', ') c (name)
    ), actual_right (name, entry) as (
      select t.relname, pg_catalog.concat_ws(' ', g.name, a.privilege_type, a.attribute)
      from pg_catalog.pg_class t
      cross join lateral (
        select r.grantee, r.privilege_type, '' from pg_catalog.aclexplode(t.relacl) r
        union all
        select r.grantee, r.privilege_type, c.attname
        from pg_catalog.pg_attribute c cross join lateral pg_catalog.aclexplode(c.attacl) r
        where c.attrelid = t.oid
      ) a (grantee, privilege_type, attribute)
      cross join lateral (select case a.grantee when 0 then 'public' else a.grantee::regrole::text end) g (name)
      where t.relnamespace = 'eventsourcing'::regnamespace and t.relkind = 'r' and a.grantee <> t.relowner
    )
    select t.relname as name, pg_catalog.array_agg(l.grants) filter (where l.grants is not null) as grants
    from pg_catalog.pg_class t
    left join lateral (
      select pg_catalog.format('grant %s on eventsourcing.%I to %s',
        case list.columns when '' then list.privilege
          else pg_catalog.format('%s (%s)', list.privilege, list.columns) end, list.name, list.role) as grants
      from list where list.name = t.relname
    ) l on true
    where t.relnamespace = 'eventsourcing'::regnamespace and t.relkind = 'r'
      and (select pg_catalog.array_agg(w.entry order by w.entry) from wanted_right w where w.name = t.relname)
        is distinct from (select pg_catalog.array_agg(a.entry order by a.entry) from actual_right a where a.name = t.relname)
    group by t.relname
  loop
    execute pg_catalog.format(
      'revoke all on eventsourcing.%I from public, eventsourcing_tenant, eventsourcing_runner, eventsourcing_all_tenants, '
        'eventsourcing_administrator, eventsourcing_runner_owner, eventsourcing_all_tenants_owner, '
        'eventsourcing_administrator_owner',
      wanted.name);
    for given in select pg_catalog.unnest(wanted.grants) as statement loop
      execute given.statement;
    end loop;
  end loop;
end
$$;
