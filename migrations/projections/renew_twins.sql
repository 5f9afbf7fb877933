-- Replaces the twins of read models that have changed, if the caller owns both and may create twins. Otherwise rebuild_problem
-- returns the statement for the owner. Rebuilds that fill these twins begin again.
create or replace function eventsourcing.renew_twins(p_tables text[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  changed record;
begin
  if not has_schema_privilege('eventsourcing_rebuild', 'create') then
    return;
  end if;
  if current_setting('lock_timeout') = '0' then
    -- a rebuild may have locked them, and then be idle for long
    perform set_config('lock_timeout', '10s', true);
  end if;
  for changed in
    select live.oid::regclass as live_table, m.shared
    from eventsourcing.read_models m
    join pg_class live on live.relname = m.name::name
    join pg_namespace n on n.oid = live.relnamespace and format('%I.%I', n.nspname, live.relname) = m.live_table
    left join pg_class twin on twin.relname = m.name::name and twin.relnamespace = 'eventsourcing_rebuild'::regnamespace
    where m.name = any (p_tables) and pg_has_role(live.relowner, 'usage')
      and (twin.oid is null or pg_has_role(twin.relowner, 'usage') and eventsourcing.twin_difference(live.oid, twin.oid) is not null)
  loop
    if changed.shared then
      perform eventsourcing.register_shared_read_model(changed.live_table);
    else
      perform eventsourcing.register_read_model(changed.live_table);
    end if;
  end loop;
end
$$;

comment on function eventsourcing.renew_twins(text[]) is
  'Replaces the twins of read models that have changed, if the caller is their owner.';
