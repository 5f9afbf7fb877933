-- Rows of the tenant in a carried table after the row p_after (NULL: from the first one), as JSON texts in the order of the
-- primary key. One row of NULL if the table is not declared as carried.
create or replace function eventsourcing.read_tenant_table(
  p_access uuid, p_tenant uuid, p_table text, p_after text, p_limit integer
)
returns setof text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  key constant text := eventsourcing.carried_key(p_table);
begin
  perform eventsourcing.administer(p_access, p_tenant);
  if key is null then
    return next null;
    return;
  end if;
  return query execute format(
    'select row_to_json(t)::text from %1$s t where t.tenant_id = $1 and ($2 is null or (%2$s) > '
      '(select %2$s from json_populate_record(null::%1$s, $2::json) t)) order by %2$s limit $3', p_table, key)
    using p_tenant, p_after, p_limit;
end
$$;

comment on function eventsourcing.read_tenant_table is 'Rows of a tenant in a carried table, for its administration.';
