-- jit is off in all functions: a planner that expects a thousand rows from an array would compile their statements, which takes
-- a tenth of a second each time.

-- Restricts a table with a tenant_id column to rows of the bound tenant. Call it again to repair the policies of a table. The
-- restrictive policy holds even if another permissive one is added.
create or replace function eventsourcing.protect_tenant_table(target regclass)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  wanted  record;
  refused record;
  -- the condition as PostgreSQL prints it
  stored constant text :=
    '(tenant_id = (NULLIF(current_setting(''eventsourcing.tenant_id''::text, true), ''''::text))::uuid)';
begin
  if not exists (
    select from pg_attribute
    where attrelid = target and attname = 'tenant_id' and atttypid = 'uuid'::regtype and attnotnull and not attisdropped
  ) then
    raise exception 'table % has no column "tenant_id uuid not null"', target
      using hint = 'add the column, then call eventsourcing.protect_tenant_table again';
  end if;
  select k.problem, k.remedy into refused
  from eventsourcing.keys_without_tenant(array[target::oid]) k where k.of_table = target limit 1;
  if found then
    raise exception '%', refused.problem using hint = 'first run: ' || refused.remedy;
  end if;
  -- Changes only differences, because DDL locks the table.
  if exists (select from pg_class where oid = target and not (relrowsecurity and relforcerowsecurity)) then
    execute format('alter table %s enable row level security', target);
    execute format('alter table %s force row level security', target);
  end if;
  for wanted in values ('tenant_access', true), ('tenant_isolation', false) loop
    if not exists (
      select from pg_policy p
      where p.polrelid = target and p.polname = wanted.column1 and p.polpermissive = wanted.column2 and p.polcmd = '*'
        and p.polroles = array['eventsourcing_tenant'::regrole::oid]
        and pg_get_expr(p.polqual, target) = stored and pg_get_expr(p.polwithcheck, target) = stored
    ) then
      execute format('drop policy if exists %I on %s', wanted.column1, target);
      execute format($policy$
        create policy %I on %s as %s for all to eventsourcing_tenant
          using (tenant_id = nullif(current_setting('eventsourcing.tenant_id', true), '')::uuid)
          with check (tenant_id = nullif(current_setting('eventsourcing.tenant_id', true), '')::uuid)
        $policy$, wanted.column1, target, case when wanted.column2 then 'permissive' else 'restrictive' end);
    end if;
  end loop;
end
$$;

comment on function eventsourcing.protect_tenant_table(regclass) is
  'Creates or repairs the row-level security of a table with a tenant_id column.';
