-- Removes the progress of retired versions and the causes of their failures. An announcement that began before a version was
-- retired may still add a row, so a version counts as cleared only if it has no rows a minute after its retirement.
create or replace function eventsourcing.clear_retired_projections()
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  gone eventsourcing.projection_versions;
begin
  for gone in
    select * from eventsourcing.projection_versions v where v.retired_at is not null and not v.cleared
    for update skip locked
  loop
    -- rows that a worker has locked are left to the next call
    delete from eventsourcing.projections p
    where (p.tenant_id, p.projection, p.version, p.rebuild) in (
      select q.tenant_id, q.projection, q.version, q.rebuild from eventsourcing.projections q
      where q.projection = gone.projection and q.version = gone.version for update skip locked);
    delete from eventsourcing.projection_failures f
    where f.projection = gone.projection and f.version = gone.version;
    update eventsourcing.projection_versions v set cleared = true
    where v.projection = gone.projection and v.version = gone.version
      and v.retired_at < clock_timestamp() - interval '1 minute'
      and not exists (
        select from eventsourcing.projections p where p.projection = gone.projection and p.version = gone.version);
  end loop;
end
$$;

comment on function eventsourcing.clear_retired_projections is 'Removes the progress of retired versions, and the causes of their failures.';
