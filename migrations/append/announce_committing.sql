-- An announcement as a transaction of its own, see create_committing. Its commit does not wait for the disk, because appends
-- would wait with it, and a lost announcement only delays projections.
create or replace procedure eventsourcing.announce_committing(in p_tenants uuid[], out held text[])
language plpgsql
as $$
declare
  setting pg_catalog.text;
begin
  rollback;
  setting := pg_catalog.set_config('synchronous_commit', 'off', true);
  held := eventsourcing.announce(p_tenants)::pg_catalog.text[];
end
$$;

comment on procedure eventsourcing.announce_committing is 'eventsourcing.announce as a transaction of its own.';
