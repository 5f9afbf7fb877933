-- Replaces the live rows of a read model that all tenants share by the rebuilt ones, in one transaction, if this is possible yet.
-- state is none, waiting, switched, or refused, with a problem, which parks the rebuild. Generated and identity columns are
-- computed anew. Runs with the caller's rights, because it changes the role to one that may write tables of the application.
--
-- A worker locks the progress of its tenant before it writes. This function also locks the progress first, and then the tables, so
-- that there is no deadlock. Workers that have begun meanwhile wait for the tables, and continue on the rebuilt rows.
create or replace function eventsourcing.switch_shared_rebuild(
  p_access uuid, p_projection text, p_version integer, p_tables text[]
)
returns table (state text, problem text)
language plpgsql
as $$
#variable_conflict use_variable
declare
  former     pg_catalog.text := pg_catalog.current_setting('role');
  live       pg_catalog.regclass;
  columns    pg_catalog.text;
  read_model pg_catalog.text;
begin
  -- short, because workers wait meanwhile
  perform pg_catalog.set_config('lock_timeout', '2s', true);
  perform eventsourcing.require_cross_tenant_access(p_access);
  perform pg_catalog.set_config('role', 'eventsourcing_all_tenants', true);
  state := eventsourcing.prepare_shared_switch(p_access, p_projection, p_version);
  if state operator(pg_catalog.=) 'anew' then
    foreach read_model in array p_tables loop
      execute pg_catalog.format('delete from eventsourcing_rebuild.%I', read_model);
    end loop;
    state := 'waiting';
  elsif state operator(pg_catalog.=) 'ready' then
    problem := eventsourcing.rebuild_problem(p_projection, p_version, p_tables, true);
    if problem is null then
      foreach read_model in array p_tables loop
        live := (select m.live_table::pg_catalog.regclass from eventsourcing.read_models m where m.name operator(pg_catalog.=) read_model);
        execute pg_catalog.format('lock table %s, eventsourcing_rebuild.%I in share row exclusive mode', live, read_model);
      end loop;
      -- the tables cannot change any more
      problem := eventsourcing.rebuild_problem(p_projection, p_version, p_tables, true);
    end if;
    if problem is not null then
      perform eventsourcing.park_shared_rebuild(p_access, p_projection, p_version, problem);
      state := 'refused';
    elsif coalesce(eventsourcing.shared_rebuild_lag(p_access, p_projection, p_version) operator(pg_catalog.<>) 0, true) then
      -- a worker has finished work for a new tenant
      state := 'waiting';
    else
      foreach read_model in array p_tables loop
        live := (select m.live_table::pg_catalog.regclass from eventsourcing.read_models m where m.name operator(pg_catalog.=) read_model);
        columns := (
          select pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' order by a.attnum)
          from pg_catalog.pg_attribute a
          where a.attrelid operator(pg_catalog.=) live and a.attnum operator(pg_catalog.>) 0 and not a.attisdropped
            and a.attgenerated operator(pg_catalog.=) '' and a.attidentity operator(pg_catalog.=) '');
        execute pg_catalog.format('delete from %s', live);
        execute pg_catalog.format('insert into %s (%s) select %2$s from eventsourcing_rebuild.%I', live, columns, read_model);
        execute pg_catalog.format('delete from eventsourcing_rebuild.%I', read_model);
      end loop;
      perform eventsourcing.finish_shared_rebuild(p_access, p_projection, p_version);
      state := 'switched';
    end if;
  end if;
  perform pg_catalog.set_config('role', former, true);
  return next;
end
$$;

comment on function eventsourcing.switch_shared_rebuild is
  'Replaces the live rows of a read model that all tenants share by the rebuilt ones, if this is possible yet.';
