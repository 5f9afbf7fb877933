-- The virtual ids of the transactions that programs have open in this database, besides this one. Those of superusers, such as
-- backups, are left out.
create or replace function eventsourcing.open_transactions(p_access uuid, p_tenant uuid)
returns setof text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.administer(p_access, p_tenant);
  return query
    select l.virtualtransaction from pg_locks l
    join pg_stat_activity a on a.pid = l.pid and a.datname = current_database()
    join pg_roles r on r.oid = a.usesysid and not r.rolsuper
    where l.locktype = 'virtualxid' and l.granted and l.pid <> pg_backend_pid();
end
$$;

comment on function eventsourcing.open_transactions is 'The transactions that programs have open in this database.';
