-- The reason why these tables cannot be rebuilt now, in one sentence with a remedy; NULL if they can. A twin is created like its
-- table once, so it does not have later changes of the table. Indexes that are not unique make no difference.
create or replace function eventsourcing.rebuild_problem(p_projection text, p_version integer, p_tables text[])
returns text
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  read_model text;
  live_name  text;
  live       oid;
  twin       oid;
  differing  text;
begin
  if eventsourcing.projection_retired(p_projection, p_version) then
    return 'this version is retired';
  end if;
  foreach read_model in array p_tables loop
    live_name := (select m.live_table from eventsourcing.read_models m where m.name = read_model);
    -- not by regclass, which needs a right to the schema
    live := (
      select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relname = read_model::name and format('%I.%I', n.nspname, c.relname) = live_name);
    twin := (
      select c.oid from pg_class c
      where c.relname = read_model::name and c.relnamespace = 'eventsourcing_rebuild'::regnamespace);
    if live_name is null then
      return format('table %s is not registered: as its owner, run select eventsourcing.register_read_model(%L)',
        read_model, read_model);
    elsif live is null then
      return format('read model %s is registered as table %s, which does not exist: as its owner, run '
        'select eventsourcing.unregister_read_model(%L) and register the table that there is', read_model, live_name, read_model);
    elsif twin is null then
      return format('table %s has no twin: as its owner, run select eventsourcing.register_read_model(%L)',
        live_name, live_name);
    end if;
    with part (relation, detail) as (
      select a.attrelid, concat_ws(' ', 'column', a.attname, format_type(a.atttypid, a.atttypmod),
        case when a.attcollation <> t.typcollation then 'collate ' || a.attcollation::regcollation end,
        case when a.attnotnull then 'not null' end,
        case when a.attidentity <> '' then 'identity' when a.attgenerated <> '' then 'generated' end,
        'default ' || pg_get_expr(d.adbin, d.adrelid))
      from pg_attribute a join pg_type t on t.oid = a.atttypid
      left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
      where a.attrelid in (live, twin) and a.attnum > 0 and not a.attisdropped
      union all
      select c.conrelid, pg_get_constraintdef(c.oid)
      from pg_constraint c where c.conrelid in (live, twin) and c.contype in ('p', 'u', 'c', 'x')
      union all
      select i.indrelid, concat_ws(' ', 'unique index on',
        (select string_agg(pg_get_indexdef(i.indexrelid, k, true), ', ' order by k) from generate_series(1, i.indnkeyatts) k),
        pg_get_expr(i.indpred, i.indrelid))
      from pg_index i where i.indrelid in (live, twin) and i.indisunique
    )
    select string_agg(detail, '; ' order by detail) into differing
    from (select detail from part group by detail having count(distinct relation) = 1 limit 3) one_sided;
    if differing is not null then
      return format('table %s has changed since its twin was made (%s): as its owner, run '
        'select eventsourcing.register_read_model(%L), then rebuild again', live_name, differing, live_name);
    end if;
  end loop;
  return null;
end
$$;

comment on function eventsourcing.rebuild_problem is 'The reason why read models cannot be rebuilt now; NULL if they can.';
