/** All objects that the SQL files create in a database, as text, to compare two databases. */

/** One row per object: its kind and name, its definition, owner, rights and comment. */
export const catalogueObjects = `
  with ours as (select oid, nspname from pg_namespace where nspname ~ '^eventsourcing'),
  objects (kind, name, definition, owner, acl, comment) as (
    select 'schema', n.nspname::text, '', n.nspowner, n.nspacl, obj_description(n.oid, 'pg_namespace')
    from pg_namespace n join ours using (oid)
    union all
    select case p.prokind when 'p' then 'procedure' else 'function' end, p.oid::regprocedure::text,
      pg_get_functiondef(p.oid), p.proowner, p.proacl, obj_description(p.oid, 'pg_proc')
    from pg_proc p join ours on ours.oid = p.pronamespace
    union all
    select case c.relkind when 'c' then 'type' else 'table' end, c.oid::regclass::text,
      concat_ws(E'\\n', c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.reloptions,
        (select string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), l.collname,
            case when a.attnotnull then 'not null' end, pg_get_expr(d.adbin, d.adrelid), a.attacl,
            col_description(c.oid, a.attnum)), E'\\n' order by a.attnum)
          from pg_attribute a
          left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
          left join pg_collation l on l.oid = a.attcollation
          where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)),
      c.relowner, c.relacl, coalesce(obj_description(c.oid, 'pg_class'), obj_description(c.reltype, 'pg_type'))
    from pg_class c join ours on ours.oid = c.relnamespace where c.relkind in ('r', 'p', 'v', 'm', 'c', 'S')
    union all
    select 'index', c.oid::regclass::text, pg_get_indexdef(c.oid), c.relowner, null, obj_description(c.oid, 'pg_class')
    from pg_class c join ours on ours.oid = c.relnamespace where c.relkind = 'i'
    union all
    select 'constraint', concat_ws(' ', k.conrelid::regclass, k.conname), pg_get_constraintdef(k.oid), null, null, null
    from pg_constraint k join ours on ours.oid = k.connamespace
    union all
    select 'policy', concat_ws(' ', p.polrelid::regclass, p.polname),
      concat_ws(E'\\n', p.polpermissive, p.polcmd,
        (select string_agg(case r when 0 then 'public' else r::regrole::text end, ',' order by r::regrole::text)
          from unnest(p.polroles) r),
        pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)),
      null, null, obj_description(p.oid, 'pg_policy')
    from pg_policy p join pg_class c on c.oid = p.polrelid join ours on ours.oid = c.relnamespace
    union all
    select 'trigger', concat_ws(' ', t.tgrelid::regclass, t.tgname), pg_get_triggerdef(t.oid), null, null, null
    from pg_trigger t join pg_class c on c.oid = t.tgrelid join ours on ours.oid = c.relnamespace
    where not t.tgisinternal
    union all
    select 'role', r.rolname::text, concat_ws(' ', r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin,
      r.rolbypassrls), null, null, shobj_description(r.oid, 'pg_authid')
    from pg_roles r where r.rolname in ('eventsourcing_tenant', 'eventsourcing_runner', 'eventsourcing_all_tenants',
      'eventsourcing_runner_owner', 'eventsourcing_all_tenants_owner')
  )
  select kind || ' ' || name as object, concat_ws(E'\\n', definition, 'owner ' || owner::regrole::text,
    'rights ' || (select string_agg(item::text, ' ' order by item::text) from unnest(acl) item),
    'comment ' || comment) as definition, comment
  from objects order by 1`

/** A row of {@link catalogueObjects}. */
export interface CatalogueObject {
  readonly object: string
  readonly definition: string
  readonly comment: string | null
}
