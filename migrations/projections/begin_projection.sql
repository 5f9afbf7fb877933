-- Starts a worker's transaction: claims work, binds its tenant and gives up every other right. A projection across tenants
-- (p_across) works as eventsourcing_all_tenants, under a recorded access. Runs with the caller's rights, because it changes the
-- role of the transaction. Returns no row if there is no work. Sets eventsourcing.alone for the transaction if much of this work is
-- left and no other work waits.
create or replace function eventsourcing.begin_projection(
  p_projections text[], p_versions integer[], p_across boolean[], p_access uuid
)
returns table (
  tenant_id uuid, projection text, version integer, rebuild boolean, "position" double precision,
  head double precision, attempts integer, failed_position double precision, error text,
  failure_kind text, waited_ms double precision
)
language plpgsql
as $$
#variable_conflict use_column
declare
  claim   pg_catalog.record;
  across  boolean;
  cleaned pg_catalog.text;
  twins   pg_catalog.text;
  renewed boolean;
begin
  if pg_catalog.current_setting('eventsourcing.tenant_id', true) operator(pg_catalog.<>) ''
    or pg_catalog.pg_current_xact_id_if_assigned() is not null
  then
    raise exception 'the last user of the connection left a bound tenant or an open transaction' using errcode = 'ES003';
  end if;
  -- assigned, because a PERFORM would take longer
  cleaned := eventsourcing.clean_session(false);
  if pg_catalog.current_setting('lock_timeout') operator(pg_catalog.=) '0' then
    -- an append, a worker or a change of a table may hold a lock that is needed here, and then be idle for long
    cleaned := pg_catalog.set_config('lock_timeout', '10s', true);
  end if;
  select * into claim from eventsourcing.claim_projection(p_projections, p_versions);
  if not found then
    return;
  end if;
  -- only counted, see tenants_beyond_share
  cleaned := pg_catalog.pg_try_advisory_xact_lock_shared(1702261875, pg_catalog.uuid_hash(claim.tenant_id))::pg_catalog.text;
  -- a worker that serves nobody else may do more in this transaction; a small backlog needs only one page
  if claim.head operator(pg_catalog.-) claim.position operator(pg_catalog.>) 100 and not eventsourcing.other_work_waits(
    p_projections, p_versions, claim.tenant_id, claim.projection, claim.version, claim.rebuild)
  then
    cleaned := pg_catalog.set_config('eventsourcing.alone', 'on', true);
  end if;
  across := (
    select p_across[i] from pg_catalog.generate_subscripts(p_projections, 1) i
    where p_projections[i] operator(pg_catalog.=) claim.projection and p_versions[i] operator(pg_catalog.=) claim.version
    limit 1);
  if across then
    perform eventsourcing.require_cross_tenant_access(p_access);
  end if;
  perform eventsourcing.bind_tenant(claim.tenant_id);
  if claim.rebuild then
    -- the handler then finds the twins before the live tables
    perform pg_catalog.set_config('search_path',
      case when pg_catalog.current_setting('search_path') operator(pg_catalog.=) '' then 'eventsourcing_rebuild'
        else pg_catalog.concat_ws(', ', 'eventsourcing_rebuild', pg_catalog.current_setting('search_path')) end, true);
  end if;
  perform pg_catalog.set_config('role',
    case when across then 'eventsourcing_all_tenants' else 'eventsourcing_tenant' end, true);
  if eventsourcing.tenant_status(claim.tenant_id) operator(pg_catalog.=)
    any (array['importing', 'moving', 'moved', 'erased'])
  then
    -- the status has changed since the claim began: the progress of such a tenant must stay as it is
    return;
  end if;
  if claim.rebuild then
    twins := eventsourcing.hold_twins(claim.tables);
    renewed := coalesce(claim.twins, '') operator(pg_catalog.<>) twins;
    if claim.shared and renewed then
      -- it starts over for all tenants at once, see prepare_shared_switch
      return;
    elsif renewed then
      if claim.twins is not null then
        -- its rows are gone with the twins that it has filled
        perform eventsourcing.start_rebuild(claim.tenant_id, claim.projection, claim.version);
        perform eventsourcing.clear_rebuild(claim.tenant_id, claim.tables);
        claim.position := 0;
        claim.attempts := 0;
        claim.failed_position := null;
        claim.error := null;
        claim.failure_kind := null;
        claim.waited_ms := 0;
      end if;
      perform eventsourcing.bind_rebuild(claim.tenant_id, claim.projection, claim.version, twins);
    end if;
    -- compared with the number at the end of the transaction, see live_writes
    perform pg_catalog.set_config('eventsourcing.live_writes',
      eventsourcing.live_writes(claim.tables)::pg_catalog.text, true);
  end if;
  return query select claim.tenant_id, claim.projection, claim.version, claim.rebuild,
    claim.position::double precision, claim.head::double precision, claim.attempts,
    claim.failed_position::double precision, claim.error, claim.failure_kind, claim.waited_ms;
end
$$;

comment on function eventsourcing.begin_projection is 'First statement of a worker''s transaction: claims work and binds its tenant.';
