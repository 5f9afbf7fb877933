-- Creates the procedure <name>_committing, which runs a function of this schema as a transaction of its own, with the same
-- parameters, so that a statement and its commit take one round trip. It is separate from the function, because a procedure
-- that commits or rolls back can neither be security definer nor have settings.
--
-- The first result of the function is an array, with a value that is not NULL for everything that it has written.
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
  outputs text[];
  answer  text;
begin
  select string_agg(format('%I', a.name), ', ' order by a.n) filter (where a.mode = 'i'),
    array_agg(quote_ident(a.name) order by a.n) filter (where a.mode = 'o')
  into inputs, outputs
  from pg_proc p cross join lateral unnest(p.proargnames, p.proargmodes::text[]) with ordinality a (name, mode, n)
  where p.oid = wanted;
  -- a record takes some 15 us longer than a value
  answer := case cardinality(outputs) when 1 then outputs[1] else 'answer' end;
  execute format($procedure$
create or replace procedure eventsourcing.%1$I(%2$s)
language plpgsql
as $body$
%6$s
begin
  rollback;
  -- the default level may be higher: an older snapshot would hide the commit of the previous holder of the lock
  if pg_catalog.current_setting('transaction_isolation') operator(pg_catalog.<>) 'read committed' then
    rollback; -- the question has taken a snapshot
    set transaction isolation level read committed;
  end if;
  %7$s := eventsourcing.%3$I(%4$s);
  %5$s
  -- Nothing was written, so nothing can be lost: the tenant's other appends do not wait for the disk.
  if coalesce(pg_catalog.cardinality(pg_catalog.array_remove(%8$s, null)), 0) operator(pg_catalog.=) 0 then
    setting := pg_catalog.set_config('synchronous_commit', 'off', true);
  end if;
end
$body$
$procedure$, p_name || '_committing', pg_get_function_arguments(wanted), p_name, inputs,
    case when cardinality(outputs) > 1
      then (select string_agg(format('%1$s := answer.%1$s;', o.name), ' ' order by o.n)
        from unnest(outputs) with ordinality o (name, n)) end,
    concat('declare setting pg_catalog.text;', case when cardinality(outputs) > 1 then ' answer pg_catalog.record;' end), answer,
    outputs[1]);
  execute format('comment on procedure eventsourcing.%I is %L', p_name || '_committing',
    format('eventsourcing.%s as a transaction of its own.', p_name));
end
$$;

comment on function eventsourcing.create_committing is
  'Creates a procedure that runs a function of the event store as a transaction of its own.';
