-- Creates the procedure <name>_committing, which runs a function of this schema as a transaction of its own, with the same
-- parameters, so that a statement and its commit take one round trip. It is separate from the function, because a procedure
-- that commits or rolls back can neither be security definer nor have settings.
--
-- The rollback ends the transaction that the client's statement began, in which nothing was done. The end of the call commits.
create or replace function eventsourcing.create_committing(p_name text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  wanted  oid := (
    select p.oid from pg_proc p
    where p.pronamespace = 'eventsourcing'::regnamespace and p.prokind = 'f' and p.proname = p_name);
  inputs  text;
  outputs text;
begin
  select string_agg(format('%I', a.name), ', ' order by a.n) filter (where a.mode = 'i'),
    string_agg(format('%1$I := answer.%1$I;', a.name), ' ' order by a.n) filter (where a.mode = 'o')
  into inputs, outputs
  from pg_proc p cross join lateral unnest(p.proargnames, p.proargmodes::text[]) with ordinality a (name, mode, n)
  where p.oid = wanted;
  execute format($procedure$
create or replace procedure eventsourcing.%1$I(%2$s)
language plpgsql
as $body$
declare
  answer pg_catalog.record;
begin
  rollback;
  -- not the default level, which may be higher: an older snapshot would hide the commit of the previous holder of the lock
  set transaction isolation level read committed;
  answer := eventsourcing.%3$I(%4$s);
  %5$s
end
$body$
$procedure$, p_name || '_committing', pg_get_function_arguments(wanted), p_name, inputs, outputs);
  execute format('comment on procedure eventsourcing.%I is %L', p_name || '_committing',
    format('eventsourcing.%s as a transaction of its own.', p_name));
end
$$;

comment on function eventsourcing.create_committing is
  'Creates a procedure that runs a function of the event store as a transaction of its own.';
