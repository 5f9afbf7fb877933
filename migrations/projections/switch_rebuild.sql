-- Ends a rebuild: its rows replace the live ones in one transaction. Generated and identity columns get new values. The caller
-- checks rebuild_problem before. Runs with the caller's rights, under row-level security: only rows of the tenant change.
create or replace function eventsourcing.switch_rebuild(
  p_tenant uuid, p_projection text, p_version integer, p_tables text[], p_position bigint
)
returns void
language plpgsql
as $$
declare
  read_model pg_catalog.text;
  live       pg_catalog.regclass; -- not text, so that only the quoted name of an existing relation can be executed
  twin       pg_catalog.text;
  columns    pg_catalog.text;
begin
  perform eventsourcing.bind_tenant(p_tenant);
  foreach read_model in array p_tables loop
    live := (select m.live_table::pg_catalog.regclass from eventsourcing.read_models m where m.name operator(pg_catalog.=) read_model);
    twin := pg_catalog.format('eventsourcing_rebuild.%I', read_model);
    execute pg_catalog.format('delete from %s where tenant_id operator(pg_catalog.=) $1', live) using p_tenant;
    columns := (
      select pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' order by a.attnum)
      from pg_catalog.pg_attribute a
      where a.attrelid operator(pg_catalog.=) live and a.attnum operator(pg_catalog.>) 0 and not a.attisdropped
        and a.attgenerated operator(pg_catalog.=) '' and a.attidentity operator(pg_catalog.=) '');
    execute pg_catalog.format('insert into %s (%s) select %2$s from %s where tenant_id operator(pg_catalog.=) $1', live, columns, twin)
      using p_tenant;
    execute pg_catalog.format('delete from %s where tenant_id operator(pg_catalog.=) $1', twin) using p_tenant;
  end loop;
  perform eventsourcing.finish_rebuild(p_tenant, p_projection, p_version, p_position);
end
$$;

comment on function eventsourcing.switch_rebuild is 'Replaces the live rows by the rebuilt ones.';
