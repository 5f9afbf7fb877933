-- Finds keys and foreign keys that do not contain the tenant. Such a key reveals to one tenant that another uses a value. Such a
-- foreign key may refer to a row of another tenant, and cascade with it. Foreign keys come first, because the key to which one
-- refers cannot change before it. References to tables without a tenant are allowed.
create or replace function eventsourcing.keys_without_tenant(p_tables oid[])
returns table (of_table oid, problem text, remedy text)
language sql
stable
set search_path = pg_catalog, pg_temp set jit = off
as $$
  with tenant_column (relid, attnum) as materialized (
    select a.attrelid, a.attnum from pg_attribute a where a.attname = 'tenant_id' and not a.attisdropped
  ), foreign_key as (
    select c.conname, c.conrelid, c.confrelid, c.conkey, c.confkey, pg_get_constraintdef(c.oid) as definition
    from pg_constraint c
    where c.contype = 'f' and c.conparentid = 0 and (c.conrelid = any (p_tables) or c.confrelid = any (p_tables))
  )
  select f.conrelid, format('foreign key %I of %s refers to %s without the tenant', f.conname, f.conrelid::regclass,
      f.confrelid::regclass),
    case when r.attnum is null then format('alter table %s drop constraint %I', f.conrelid::regclass, f.conname)
    else format('alter table %s drop constraint %I, add constraint %I %s', f.conrelid::regclass, f.conname, f.conname,
      regexp_replace(regexp_replace(f.definition, 'FOREIGN KEY \(', 'FOREIGN KEY (tenant_id, '),
        '(REFERENCES [^(]+)\(', '\1(tenant_id, ')) end
  from foreign_key f
  left join tenant_column r on r.relid = f.conrelid
  join tenant_column t on t.relid = f.confrelid
  where not exists (
    select from generate_subscripts(f.conkey, 1) i where f.conkey[i] = r.attnum and f.confkey[i] = t.attnum
  )
  union all
  select i.indrelid, format('key %s of %s leaves out the tenant', i.indexrelid::regclass, i.indrelid::regclass),
    case when c.conname is null
      then format('do $do$ begin drop index %s; %s; end $do$', i.indexrelid::regclass,
        regexp_replace(pg_get_indexdef(i.indexrelid), 'USING (\w+) \(', 'USING \1 (tenant_id, '))
      else format('alter table %s drop constraint %I, add constraint %I %s', i.indrelid::regclass, c.conname, c.conname,
        regexp_replace(pg_get_constraintdef(c.oid), '\(', case when i.indisexclusion then '(tenant_id WITH =, '
          else '(tenant_id, ' end)) end
  from pg_index i
  join tenant_column t on t.relid = i.indrelid
  left join pg_constraint c on c.conindid = i.indexrelid and c.conrelid = i.indrelid and c.contype in ('p', 'u', 'x')
  where i.indrelid = any (p_tables) and (i.indisunique or i.indisexclusion)
    and t.attnum <> all ((i.indkey::int2[])[0:i.indnkeyatts - 1])
    and not exists (select from pg_inherits h where h.inhrelid = i.indexrelid)
$$;
comment on function eventsourcing.keys_without_tenant(oid[]) is
  'Keys and foreign keys of tables that leave out the tenant, with the statements that repair them.';
