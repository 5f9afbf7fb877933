-- Removes everything that SQL may have left on a session and that the next user of a pooled connection would find: settings,
-- cursors, temporary objects, values of sequences, advisory locks. With p_ending it also removes listens, the role, and the
-- statements that were prepared in SQL, one by one. DISCARD ALL would also drop the client's own prepared statements, and is not
-- allowed in a transaction. Each step takes about a microsecond if there is nothing to remove; reading the prepared statements
-- takes 70. Runs with the caller's rights, on the caller's own session.
create or replace function eventsourcing.clean_session(p_ending boolean)
returns void
language plpgsql
as $$
declare
  -- qualified, because a temporary type named text would be found first
  prepared pg_catalog.text;
  released pg_catalog.text;
begin
  if p_ending then
    -- deferred checks need the tenant and the settings of the transaction
    set constraints all immediate;
  end if;
  reset all;
  execute 'close all';
  if pg_catalog.pg_my_temp_schema() operator(pg_catalog.<>) 0 then
    discard temp;
  end if;
  discard sequences;
  -- assigned, because a PERFORM would take longer
  released := pg_catalog.pg_advisory_unlock_all();
  if p_ending then
    -- a standby does not accept LISTEN
    if not pg_catalog.pg_is_in_recovery() then
      unlisten *;
    end if;
    for prepared in select p.name from pg_catalog.pg_prepared_statement() p where p.from_sql loop
      execute pg_catalog.format('deallocate %I', prepared);
    end loop;
    reset session authorization;
    reset role;
  end if;
end
$$;

comment on function eventsourcing.clean_session(boolean) is
  'Removes settings, cursors, temporary objects, locks, listens and SQL-level prepared statements from the session.';
