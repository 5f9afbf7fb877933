-- The reason why these tables cannot be rebuilt now, in one sentence with a remedy; NULL if they can. p_shared is true for a
-- projection across tenants.
create or replace function eventsourcing.rebuild_problem(
  p_projection text, p_version integer, p_tables text[], p_shared boolean
)
returns text
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  read_model text;
  registered eventsourcing.read_models;
  live       oid;
  twin       oid;
  differing  text;
  register   constant text := case when p_shared then 'register_shared_read_model' else 'register_read_model' end;
begin
  if eventsourcing.projection_retired(p_projection, p_version) then
    return 'this version is retired';
  end if;
  foreach read_model in array p_tables loop
    select * into registered from eventsourcing.read_models m where m.name = read_model;
    -- not by regclass, which needs a right to the schema
    live := (
      select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relname = read_model::name and format('%I.%I', n.nspname, c.relname) = registered.live_table);
    twin := (
      select c.oid from pg_class c
      where c.relname = read_model::name and c.relnamespace = 'eventsourcing_rebuild'::regnamespace);
    if registered.name is null then
      return format('table %s is not registered: as its owner, run select eventsourcing.%s(%L)',
        read_model, register, read_model);
    elsif live is null then
      return format('read model %s is registered as table %s, which does not exist: as its owner, run '
        'select eventsourcing.unregister_read_model(%L) and register the existing table', read_model,
        registered.live_table, read_model);
    elsif registered.shared <> p_shared then
      return format('table %s is registered as %s: as its owner, run select eventsourcing.%s(%L)', registered.live_table,
        case when registered.shared then 'one that a projection across tenants fills' else 'one of each tenant' end,
        register, registered.live_table);
    elsif twin is null then
      return format('table %s has no twin: as its owner, run select eventsourcing.%s(%L)',
        registered.live_table, register, registered.live_table);
    end if;
    differing := eventsourcing.twin_difference(live, twin);
    if differing is not null then
      return format('table %s has changed since its twin was made (%s): as its owner, run '
        'select eventsourcing.%s(%L), then rebuild again', registered.live_table, differing, register,
        registered.live_table);
    end if;
  end loop;
  return null;
end
$$;

comment on function eventsourcing.rebuild_problem is 'The reason why read models cannot be rebuilt now; NULL if they can.';
