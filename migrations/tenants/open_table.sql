-- Turns on row-level security for a table, with a policy that shows all rows to a role. Only for the store's own tables that
-- roles read across tenants, or whose rows belong to no tenant. Changes only differences, because DDL locks the table.
create or replace function eventsourcing.open_table(target regclass, policy text, command text, grantee text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  if exists (select from pg_class where oid = target and not (relrowsecurity and relforcerowsecurity)) then
    execute format('alter table %s enable row level security', target);
    execute format('alter table %s force row level security', target);
  end if;
  if not exists (
    select from pg_policy p
    where p.polrelid = target and p.polname = policy and p.polpermissive
      and p.polcmd = case command when 'all' then '*' when 'select' then 'r' when 'update' then 'w' end
      and p.polroles = array[case grantee when 'public' then 0 else grantee::regrole::oid end]
      and pg_get_expr(p.polqual, target) = 'true'
      and pg_get_expr(p.polwithcheck, target) is not distinct from case command when 'all' then 'true' end
  ) then
    execute format('drop policy if exists %I on %s', policy, target);
    execute format('create policy %I on %s for %s to %s using (true)%s', policy, target, command,
      case grantee when 'public' then 'public' else quote_ident(grantee) end,
      case command when 'all' then ' with check (true)' else '' end);
  end if;
end
$$;
comment on function eventsourcing.open_table(regclass, text, text, text) is
  'Creates or repairs a policy that shows all rows of a table to a role.';
