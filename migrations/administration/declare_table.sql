-- For the owner, in a migration of the application: protects a table with rows of tenants (protect_tenant_table), and states its
-- part in exports and moves. derived: rebuilt from the log. carried: exported and moved, which needs a primary key that begins
-- with tenant_id. keptOut: neither, for a reason. Registered read models are derived and need no declaration.
create or replace function eventsourcing.declare_table(target regclass, handling text, reason text default null)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  perform eventsourcing.protect_tenant_table(target);
  if handling = 'carried' and not exists (
    select from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
    where i.indrelid = target and i.indisprimary and a.attname = 'tenant_id'
  ) then
    raise exception 'table % has no primary key that begins with tenant_id, so that it cannot be carried', target
      using hint = 'add the key, then call eventsourcing.declare_table again';
  end if;
  execute format('grant select, insert, update, delete on %s to eventsourcing_administrator_owner', target);
  insert into eventsourcing.declared_tables as d (name, handling, reason)
  select format('%I.%I', n.nspname, c.relname), declare_table.handling, declare_table.reason
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = target
  on conflict (name) do update set handling = excluded.handling, reason = excluded.reason;
end
$$;

comment on function eventsourcing.declare_table(regclass, text, text) is
  'Protects a table with rows of tenants, and states its part in exports and moves: derived, carried or keptOut.';
