-- The number of rows of the live tables that this session has written and not yet reported to the statistics. If it has grown
-- at the end of a transaction, the transaction wrote to them, even if a savepoint undid that.
create or replace function eventsourcing.live_writes(p_tables text[])
returns bigint
language sql
stable
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
  select coalesce(sum(pg_stat_get_xact_tuples_inserted(written.relation) + pg_stat_get_xact_tuples_updated(written.relation)
    + pg_stat_get_xact_tuples_deleted(written.relation)), 0)::bigint
  from eventsourcing.read_models m
  join pg_class c on c.relname = m.name::name
  join pg_namespace n on n.oid = c.relnamespace and format('%I.%I', n.nspname, c.relname) = m.live_table
  cross join lateral (
    select c.oid union select t.relid from pg_partition_tree(c.oid) t
  ) written (relation)
  where m.name = any (p_tables)
$$;

comment on function eventsourcing.live_writes is 'Number of rows of live read models that the session has written and not yet reported to the statistics.';
