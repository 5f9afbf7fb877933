-- Writes rows of an import to a carried table, in place of those with the same keys, or (p_replace) of all rows of the tenant.
-- tenant_id becomes that of the import. Returns NULL, or the reason why it has written nothing.
create or replace function eventsourcing.write_tenant_table(
  p_access uuid, p_tenant uuid, p_token uuid, p_table text, p_rows text, p_replace boolean
)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  refused constant text := eventsourcing.tenant_under_import(p_access, p_tenant, p_token);
  key     constant text := eventsourcing.carried_key(p_table);
  written text; -- the columns that are not generated
begin
  if refused is not null or key is null then
    return coalesce(refused, format('table %s is not declared as carried here: run eventsourcing.declare_table as its owner', p_table));
  end if;
  written := (
    select string_agg(quote_ident(a.attname), ', ' order by a.attnum) from pg_attribute a
    where a.attrelid = p_table::regclass and a.attnum > 0 and not a.attisdropped and a.attgenerated = '');
  if p_replace then
    execute format('delete from %s t where t.tenant_id = $1', p_table) using p_tenant;
  else
    execute format(
      'delete from %1$s t using json_populate_recordset(null::%1$s, $2::json) r where t.tenant_id = $1 and (%2$s) = (%3$s)',
      p_table, key, replace(replace(key, 't.tenant_id', '$1'), 't.', 'r.')) using p_tenant, p_rows;
  end if;
  execute format(
    'insert into %1$s (%2$s) overriding system value select %3$s from json_populate_recordset(null::%1$s, $2::json) r',
    p_table, written, regexp_replace(written, '\mtenant_id\M', '$1')) using p_tenant, p_rows;
  return null;
end
$$;

comment on function eventsourcing.write_tenant_table is 'Writes rows of an import to a carried table.';
