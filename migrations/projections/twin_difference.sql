-- The columns, keys and constraints that only a table or only its twin has; NULL if they are alike. A twin is made like its table
-- once, so a table that was altered later has an outdated twin. Indexes that are not unique are ignored.
create or replace function eventsourcing.twin_difference(p_live oid, p_twin oid)
returns text
language sql
stable
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
  with part (relation, detail) as (
    select a.attrelid, concat_ws(' ', 'column', a.attname, format_type(a.atttypid, a.atttypmod),
      case when a.attcollation <> t.typcollation then 'collate ' || a.attcollation::regcollation end,
      case when a.attnotnull then 'not null' end,
      case when a.attidentity <> '' then 'identity' when a.attgenerated <> '' then 'generated' end,
      'default ' || pg_get_expr(d.adbin, d.adrelid))
    from pg_attribute a join pg_type t on t.oid = a.atttypid
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attrelid in (p_live, p_twin) and a.attnum > 0 and not a.attisdropped
    union all
    select c.conrelid, pg_get_constraintdef(c.oid)
    from pg_constraint c where c.conrelid in (p_live, p_twin) and c.contype in ('p', 'u', 'c', 'x')
    union all
    select i.indrelid, concat_ws(' ', 'unique index on',
      (select string_agg(pg_get_indexdef(i.indexrelid, k, true), ', ' order by k) from generate_series(1, i.indnkeyatts) k),
      pg_get_expr(i.indpred, i.indrelid))
    from pg_index i where i.indrelid in (p_live, p_twin) and i.indisunique
  )
  select string_agg(detail, '; ' order by detail)
  from (select detail from part group by detail having count(distinct relation) = 1 limit 3) one_sided
$$;

comment on function eventsourcing.twin_difference is 'Differences between a read model and its twin; NULL if there are none.';
