-- The tables of the application with rows of tenants: those with the policy of protect_tenant_table, without partitions.
create or replace function eventsourcing.tables_of_tenants()
returns table (target oid, name text, handling text, reason text)
language sql
stable
set search_path = pg_catalog, pg_temp set jit = off
as $$
  select c.oid, t.name, coalesce(d.handling, case when m.name is not null then 'derived' end), d.reason
  from pg_policy p
  join pg_class c on c.oid = p.polrelid and c.relkind in ('r', 'p') and not c.relispartition
  join pg_namespace n on n.oid = c.relnamespace and n.nspname not in ('eventsourcing', 'eventsourcing_rebuild')
  cross join lateral (select format('%I.%I', n.nspname, c.relname)) t (name)
  left join eventsourcing.declared_tables d on d.name = t.name
  left join eventsourcing.read_models m on to_regclass(m.live_table) = c.oid or m.name = c.relname and m.live_table = t.name
  where p.polname = 'tenant_isolation'
  order by t.name collate "C"
$$;

comment on function eventsourcing.tables_of_tenants is 'The tables of the application with rows of tenants, and their declared parts in exports and moves.';
