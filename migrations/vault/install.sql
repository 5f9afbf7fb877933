-- Installs or updates a key vault of effect-eventsourcing, as the owner of a database that has no events:
--
--   psql -1 -v ON_ERROR_STOP=1 -f migrations/vault/install.sql
--
-- This is the only list of the files and their order, for psql and for PgKeyVault.migrate. Every file holds one object, is named
-- after it, and may be applied again.

\ir roles.sql
\ir schema_version.sql

\ir schema_files.sql
\ir vault.sql
\ir tenants.sql
\ir wrapping_keys.sql
\ir data_keys.sql
\ir fences.sql

\ir lock_tenant.sql
\ir create_vault.sql
\ir current_key.sql
\ir current_keys.sql
\ir find_keys.sql
\ir add_wrapping_key.sql
\ir drop_wrapping_keys.sql
\ir add_keys.sql
\ir add_destroyed_keys.sql
\ir rewrap_keys.sql
\ir add_fence.sql
\ir list_fences.sql
\ir destroy_keys.sql
\ir allow_subject.sql
\ir erase_keys.sql

\ir privileges.sql
