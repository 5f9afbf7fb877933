-- Rows of the live tables that this session has written and not reported yet: more of them at the end of a transaction
-- than at its start were written in it, also where a savepoint undid it.
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

comment on function eventsourcing.live_writes is 'Rows of live read models that were written in the session and not reported yet.';
