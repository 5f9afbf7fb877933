-- Hashes of the tenants that have more than their share of the claims in progress, over all processes: at least 30, and more than a
-- tenth of all. Each claim holds a shared advisory lock on the hash of its tenant, only to be counted here: nobody waits for it, and
-- two tenants with one hash share a turn.
create or replace function eventsourcing.tenants_beyond_share()
returns bigint[]
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
begin
  -- Reading all locks takes longer than a claim, and only so many projections, live or rebuilt, can give a tenant 30 claims.
  if (select count(*) from eventsourcing.projection_versions v where v.retired_at is null and not v.inline) < 15 then
    return '{}';
  end if;
  return array(
    select c.hash
    from (
      select l.objid::bigint as hash, count(*) as own, sum(count(*)) over () as total
      from pg_locks l
      where l.locktype = 'advisory' and l.classid = 1702261875 and l.objsubid = 2
        and l.database = (select d.oid from pg_database d where d.datname = current_database())
      group by l.objid
    ) c
    where c.own >= 30 and c.own > c.total * 0.1);
end
$$;

comment on function eventsourcing.tenants_beyond_share is
  'Hashes of the tenants whose projections have more than their share of the workers.';
