-- Takes off a session everything that SQL may have left there and that the next user of a pooled connection would find:
-- settings, cursors, temporary objects, values of sequences, advisory locks, listens. With p_ending also statements
-- prepared in SQL, by name, because the client's own stay, and the role. DISCARD ALL would drop those of the client, and is
-- not allowed in a transaction. Each step takes about a microsecond if there is nothing; looking at the prepared statements
-- takes 70. Runs with the caller's rights, on the caller's own session.
create or replace function eventsourcing.clean_session(p_ending boolean)
returns void
language plpgsql
as $$
declare
  prepared text;
begin
  if p_ending then
    -- deferred checks need the tenant and the settings of the transaction
    set constraints all immediate;
  end if;
  reset all;
  execute 'close all';
  if pg_catalog.pg_my_temp_schema() <> 0 then
    discard temp;
  end if;
  discard sequences;
  perform pg_catalog.pg_advisory_unlock_all();
  -- a LISTEN of this transaction is not listed before its end; a standby takes neither
  if (p_ending and not pg_catalog.pg_is_in_recovery()) or exists (select from pg_catalog.pg_listening_channels()) then
    unlisten *;
  end if;
  if p_ending then
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
