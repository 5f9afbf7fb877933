-- Removes at most about p_limit rows of a tenant that is erased, moved or importing under this token. Returns {"removed": rows,
-- "complete": true if none remain}, or {"problem": sentence} or {"held": hold}, and has removed nothing then.
--
-- Repeated after its end, it removes what transactions that were open at the time have written since.
--
-- It belongs to the owner of the database and runs with the owner's rights, because no other role may remove events. So it asks
-- for the status and the token under the tenant's lock, and every statement names the tenant.
create or replace function eventsourcing.purge_tenant(p_access uuid, p_tenant uuid, p_token uuid, p_limit integer)
returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  known   record;
  purged  record;
  left_   integer := greatest(p_limit, 1);
  rows_   integer;
  removed integer := 0;
  before  integer;
  waiting boolean := false; -- a foreign key of another table holds rows
  moment  constant bigint := (extract(epoch from clock_timestamp()) * 1000)::bigint;
begin
  perform eventsourcing.administer(p_access, p_tenant);
  select t.status, t.undertaking, t.undertaking ->> 'token' as token, t.hold into known
  from eventsourcing.tenants t where t.tenant_id = p_tenant for no key update;
  if known.status is null then
    return jsonb_build_object('problem', 'the tenant is not registered here');
  elsif known.status not in ('erased', 'moved', 'importing') then
    return jsonb_build_object('problem', format('the tenant is %s: only the rows of an erased, moved or importing tenant are purged', known.status));
  elsif known.token is distinct from p_token::text then
    return jsonb_build_object('problem', 'another undertaking has the tenant: its token differs');
  elsif known.status = 'erased' and known.hold is not null then
    return jsonb_build_object('held', known.hold);
  elsif known.status = 'erased' and (known.undertaking ->> 'purgeFrom')::bigint > moment then
    return jsonb_build_object('problem', 'the delay of the erasure is not over');
  end if;
  if known.undertaking -> 'purging' is null then
    update eventsourcing.tenants t set undertaking = t.undertaking || '{"purging": true}' where t.tenant_id = p_tenant;
  end if;
  loop
    before := removed;
    waiting := false;
    for purged in
      -- partitions one by one, because ctid does not tell them apart
      select c.oid::regclass::text as name from pg_class c
      cross join lateral (select coalesce(pg_partition_root(c.oid)::oid, c.oid) as oid) r
      where c.relkind = 'r' and (
        c.relnamespace = 'eventsourcing'::regnamespace and c.relname not in ('tenants', 'tenant_directory')
          and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)
        or c.relnamespace <> 'eventsourcing'::regnamespace
          and exists (select from pg_policy p where p.polrelid = r.oid and p.polname = 'tenant_isolation'))
      order by c.relnamespace <> 'eventsourcing'::regnamespace desc, c.oid
    loop
      exit when left_ <= 0;
      begin
        execute format('delete from %1$s where ctid = any (array(select x.ctid from %1$s x where x.tenant_id = $1 limit $2))', purged.name)
          using p_tenant, left_;
        get diagnostics rows_ = row_count;
        left_ := left_ - rows_;
        removed := removed + rows_;
      exception when foreign_key_violation then
        waiting := true;
      end;
    end loop;
    exit when left_ <= 0 or not waiting;
    if removed = before then
      raise exception 'rows of tenant % are held by foreign keys', p_tenant using errcode = '23503';
    end if;
  end loop;
  if left_ <= 0 then
    return jsonb_build_object('removed', removed, 'complete', false);
  end if;
  if known.status = 'importing' then
    delete from eventsourcing.tenants t where t.tenant_id = p_tenant;
  else
    update eventsourcing.tenants t set undertaking = t.undertaking || '{"purged": true}', chained_from = null, origin = null,
      quota = null, forgotten_subjects = 0
    where t.tenant_id = p_tenant;
  end if;
  if known.status = 'erased' then
    delete from eventsourcing.tenant_directory d where d.tenant_id = p_tenant;
    -- Only the record of the erasure keeps the id. It names the access, so that the trail still tells of this erasure.
    update eventsourcing.cross_tenant_accesses a set operation = replace(a.operation, p_tenant::text, 'of an erased tenant')
    where a.operation like '%' || p_tenant::text || '%';
  end if;
  return jsonb_build_object('removed', removed, 'complete', true);
end
$$;

comment on function eventsourcing.purge_tenant is 'Removes rows of an erased, moved or importing tenant, a bounded number per call.';
