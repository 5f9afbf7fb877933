-- The columns of the primary key of a carried table, as a list for SQL; NULL if the table is not declared as carried.
create or replace function eventsourcing.carried_key(p_table text)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp set jit = off
as $$
  select string_agg(format('t.%I', a.attname), ', ' order by k.n)
  from eventsourcing.tables_of_tenants() c
  join pg_index i on i.indrelid = c.target and i.indisprimary
  cross join lateral unnest(i.indkey::smallint[]) with ordinality k (attnum, n)
  join pg_attribute a on a.attrelid = c.target and a.attnum = k.attnum
  where c.name = p_table and c.handling = 'carried'
$$;

comment on function eventsourcing.carried_key is 'The primary key of a carried table; NULL for any other table.';
