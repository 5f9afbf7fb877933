-- Tenants in databases of their own: the directory that says which tenant is where, and what a database knows of itself.

create table if not exists eventsourcing.placements (
  placement text collate "C" primary key check (placement <> ''),
  here      boolean not null default false,
  dedicated boolean not null default false
);
comment on table eventsourcing.placements is
  'Databases that tenants can be placed in, in the database that has the directory; in every database, its own name.';
comment on column eventsourcing.placements.here is 'Whether it is this database: a store that was sent here by mistake finds out.';
comment on column eventsourcing.placements.dedicated is
  'Whether this database takes the tenants alone that its owner admitted (admit_tenant).';
alter table eventsourcing.placements enable row level security;
alter table eventsourcing.placements force row level security;
drop policy if exists anyone_reads on eventsourcing.placements;
create policy anyone_reads on eventsourcing.placements for select using (true);
drop policy if exists owner_registers on eventsourcing.placements;
create policy owner_registers on eventsourcing.placements for all to current_user using (true) with check (true);

create table if not exists eventsourcing.tenant_directory (
  tenant_id uuid primary key,
  placement text collate "C" not null
);
comment on table eventsourcing.tenant_directory is 'Which tenant is in which database.';
select eventsourcing.protect_tenant_table('eventsourcing.tenant_directory');
drop policy if exists all_tenants_place on eventsourcing.tenant_directory;
create policy all_tenants_place on eventsourcing.tenant_directory for all to eventsourcing_all_tenants
  using (true) with check (true);

revoke all on eventsourcing.placements, eventsourcing.tenant_directory
  from public, eventsourcing_tenant, eventsourcing_runner, eventsourcing_all_tenants;
grant select on eventsourcing.placements to eventsourcing_tenant, eventsourcing_all_tenants;
grant select on eventsourcing.tenant_directory to eventsourcing_tenant;
grant select, insert, update on eventsourcing.tenant_directory to eventsourcing_all_tenants;

-- The placement of the tenant; NULL if the directory does not have it.
create or replace function eventsourcing.tenant_placement(p_tenant uuid)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  perform eventsourcing.bind_tenant(p_tenant);
  return (select d.placement from eventsourcing.tenant_directory d where d.tenant_id = p_tenant);
end
$$;
comment on function eventsourcing.tenant_placement(uuid) is 'Which database the tenant is in.';

-- Every database there is, which of them is this one, and whether it can take other tenants than those of its owner.
create or replace function eventsourcing.list_placements()
returns table (placement text, here boolean, dedicated boolean, closed boolean)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
  select p.placement, p.here, p.dedicated,
    not has_column_privilege('eventsourcing_tenant', 'eventsourcing.tenants', 'tenant_id', 'insert')
  from eventsourcing.placements p order by p.placement
$$;
comment on function eventsourcing.list_placements() is 'The databases that tenants can be placed in, and which of them is this one.';

-- Places a tenant, or moves it: the directory says so from now on, and nothing is copied. Under an access that is on
-- record. Refuses (SQLSTATE ES005) a placement that nobody added.
create or replace function eventsourcing.place_tenant(p_access uuid, p_tenant uuid, p_placement text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_generic_plan
as $$
begin
  perform eventsourcing.require_cross_tenant_access(p_access);
  if not exists (select from eventsourcing.placements p where p.placement = p_placement) then
    raise exception 'no placement of that name' using errcode = 'ES005',
      hint = 'call eventsourcing.add_placement as the owner of the database with the directory';
  end if;
  insert into eventsourcing.tenant_directory (tenant_id, placement) values (p_tenant, p_placement)
  on conflict (tenant_id) do update set placement = excluded.placement;
end
$$;
comment on function eventsourcing.place_tenant is 'Says which database a tenant is in from now on.';

-- To be called by the owner, in the database with the directory.
create or replace function eventsourcing.add_placement(p_placement text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  insert into eventsourcing.placements (placement) values (p_placement) on conflict do nothing;
end
$$;
comment on function eventsourcing.add_placement(text) is 'Makes a database known that tenants can be placed in.';

-- To be called by the owner, in the database itself: tells it its name. A dedicated one takes no tenant from then on that
-- its owner has not admitted, whatever the application does: nobody else may add one.
create or replace function eventsourcing.name_database(p_placement text, p_dedicated boolean)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  known text;
begin
  -- Two sessions that grant and revoke at once fail: "tuple concurrently updated".
  lock table eventsourcing.placements in share row exclusive mode;
  known := (select p.placement from eventsourcing.placements p where p.here);
  if known <> p_placement then
    raise exception 'this database is the placement %, not %', known, p_placement
      using hint = 'check how the placement is connected to';
  end if;
  insert into eventsourcing.placements as p (placement, here, dedicated) values (p_placement, true, p_dedicated)
  on conflict (placement) do update set here = true, dedicated = excluded.dedicated;
  if p_dedicated then
    revoke insert (tenant_id) on eventsourcing.tenants from eventsourcing_tenant;
  else
    grant insert (tenant_id) on eventsourcing.tenants to eventsourcing_tenant;
  end if;
end
$$;
comment on function eventsourcing.name_database(text, boolean) is
  'Tells a database which placement it is, and whether it takes admitted tenants alone.';

-- To be called by the owner: registers a tenant in a dedicated database. The right to do so is there for this statement
-- alone.
create or replace function eventsourcing.admit_tenant(p_tenant uuid)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  dedicated boolean;
begin
  lock table eventsourcing.placements in share row exclusive mode; -- as name_database does
  dedicated := exists (select from eventsourcing.placements p where p.here and p.dedicated);
  if dedicated then
    grant insert (tenant_id) on eventsourcing.tenants to eventsourcing_tenant;
  end if;
  perform eventsourcing.provision_tenant(p_tenant);
  if dedicated then
    revoke insert (tenant_id) on eventsourcing.tenants from eventsourcing_tenant;
  end if;
end
$$;
comment on function eventsourcing.admit_tenant(uuid) is 'Registers a tenant in a dedicated database, as its owner.';

-- Owners and callers of the functions above, as in 0008_grants.sql.
do $$
declare
  signature regprocedure;
  owner     text;
begin
  grant create on schema eventsourcing to eventsourcing_tenant, eventsourcing_all_tenants;
  for signature, owner in
    select p.oid::regprocedure,
      case p.proname when 'place_tenant' then 'eventsourcing_all_tenants' else 'eventsourcing_tenant' end
    from pg_catalog.pg_proc p
    where p.pronamespace = 'eventsourcing'::regnamespace and p.prosecdef
      and p.proname in ('tenant_placement', 'list_placements', 'place_tenant')
  loop
    execute pg_catalog.format('alter function %s owner to %I', signature, owner);
    execute pg_catalog.format('revoke all on function %s from public', signature);
    execute pg_catalog.format('grant execute on function %s to %I', signature, owner);
  end loop;
  revoke create on schema eventsourcing from eventsourcing_tenant, eventsourcing_all_tenants;
  -- 0002_tables.sql, run again, lets tenants register themselves
  if exists (select from eventsourcing.placements p where p.here and p.dedicated) then
    revoke insert (tenant_id) on eventsourcing.tenants from eventsourcing_tenant;
  end if;
end
$$;

revoke all on function eventsourcing.add_placement, eventsourcing.name_database, eventsourcing.admit_tenant from public;

create or replace function eventsourcing.schema_version()
returns integer
language sql
immutable
as 'select 12';
