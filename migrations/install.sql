-- Installs or updates the event store of effect-eventsourcing, as the owner of the database:
--
--   psql -1 -v ON_ERROR_STOP=1 -f migrations/install.sql
--
-- This is the only list of the files and their order, for psql and for PgMigrator. Every file holds one object, is named
-- after it, and may be applied again.

\ir roles.sql
\ir checks/schema_version.sql

\ir checks/keys_without_tenant.sql
\ir tenants/protect_tenant_table.sql
\ir tenants/open_table.sql

\ir tables/schema_files.sql
\ir tables/tenants.sql
\ir tables/events.sql
\ir tables/event_tags.sql
\ir tables/event_blocks.sql
\ir tables/command_keys.sql
\ir tables/subjects.sql
\ir tables/cross_tenant_accesses.sql
\ir tables/projection_versions.sql
\ir tables/projections.sql
\ir tables/projection_failures.sql
\ir tables/dead_letters.sql
\ir tables/discarded_dead_letters.sql
\ir tables/read_models.sql
\ir tables/declared_tables.sql
\ir tables/plans.sql
\ir tables/placements.sql
\ir tables/tenant_directory.sql
\ir tables/snapshots.sql

\ir tenants/bind_tenant.sql
\ir tenants/is_administered.sql
\ir tenants/require_visible.sql
\ir tenants/clean_session.sql
\ir tenants/begin_tenant.sql
\ir tenants/provision_tenant.sql
\ir tenants/end_expired_move.sql
\ir tenants/tenant_status.sql
\ir tenants/moved_to.sql

\ir append/event_hash.sql
\ir append/start_hash_chain.sql
\ir append/hash_chain_start.sql
\ir append/summarise_blocks.sql
\ir read/positions_of_types.sql
\ir append/matching_positions.sql
\ir append/command_outcomes.sql
\ir append/quota_refusal.sql
\ir append/create_committing.sql
\ir append/append.sql
\ir append/append_committing.sql
\ir append/append_one.sql
\ir append/append_one_committing.sql

\ir read/event_chunk.sql
\ir read/stream_version.sql
\ir read/log_head.sql
\ir read/list_streams.sql
\ir read/position_at.sql
\ir read/event_position.sql
\ir read/read_stream.sql
\ir read/read_log.sql
\ir read/stream_log.sql
\ir read/begin_reading.sql
\ir read/load_streams.sql
\ir read/streams_end_with.sql
\ir read/forgotten_counts.sql
\ir read/forgotten_subjects.sql

\ir projections/taken_table.sql
\ir projections/register_projection.sql
\ir projections/register_inline_projection.sql
\ir projections/retire_projection.sql
\ir projections/clear_retired_projections.sql
\ir projections/projection_backlog.sql
\ir projections/projection_dead_letters.sql
\ir projections/twins_of.sql
\ir projections/hold_twins.sql
\ir projections/tenants_beyond_share.sql
\ir projections/claim_projection.sql
\ir projections/live_writes.sql
\ir projections/other_work_waits.sql
\ir projections/begin_projection.sql
\ir projections/advance_projection.sql
\ir projections/keep_failure_cause.sql
\ir projections/fail_projection.sql
\ir projections/add_dead_letter.sql
\ir projections/list_dead_letters.sql
\ir projections/remove_dead_letter.sql
\ir projections/projection_status.sql
\ir projections/resume_projection.sql
\ir projections/pause_projection.sql
\ir projections/projection_retired.sql
\ir projections/twin_difference.sql
\ir projections/rebuild_problem.sql
\ir projections/start_rebuild.sql
\ir projections/bind_rebuild.sql
\ir projections/lock_live_projection.sql
\ir projections/read_model_name.sql
\ir projections/register_read_model.sql
\ir projections/register_shared_read_model.sql
\ir projections/renew_twins.sql
\ir projections/unregister_read_model.sql
\ir projections/clear_rebuild.sql
\ir projections/cancel_rebuild.sql
\ir projections/finish_rebuild.sql
\ir projections/switch_rebuild.sql
\ir projections/begin_shared_rebuild.sql
\ir projections/start_shared_rebuild.sql
\ir projections/end_shared_rebuild.sql
\ir projections/cancel_shared_rebuild.sql
\ir projections/shared_rebuild_lag.sql
\ir projections/prepare_shared_switch.sql
\ir projections/park_shared_rebuild.sql
\ir projections/finish_shared_rebuild.sql
\ir projections/switch_shared_rebuild.sql
\ir append/announce.sql
\ir append/announce_committing.sql

\ir across_tenants/record_operation.sql
\ir across_tenants/record_cross_tenant_access.sql
\ir across_tenants/require_cross_tenant_access.sql
\ir across_tenants/complete_operation.sql
\ir across_tenants/recorded_access.sql
\ir across_tenants/begin_across_tenants.sql
\ir across_tenants/list_tenants.sql
\ir across_tenants/unseen_tenants.sql
\ir across_tenants/read_all_logs.sql
\ir across_tenants/set_tenant_status.sql
\ir across_tenants/list_projection_failures.sql
\ir across_tenants/resume_projections.sql
\ir across_tenants/list_accesses.sql
\ir across_tenants/list_cross_tenant_accesses.sql
\ir across_tenants/remove_old_accesses.sql
\ir tenants/remove_expired_keys.sql
\ir across_tenants/usage_position.sql
\ir across_tenants/usage.sql

\ir directory/tenant_placement.sql
\ir directory/list_placements.sql
\ir directory/place_tenant.sql
\ir directory/replace_placement.sql
\ir directory/add_placement.sql
\ir directory/name_database.sql
\ir directory/admit_tenant.sql
\ir directory/exclude_tenant.sql

\ir administration/administer.sql
\ir administration/administered_tenant.sql
\ir administration/tenant_under_import.sql
\ir administration/change_tenant_state.sql
\ir administration/read_raw_log.sql
\ir administration/stream_raw_log.sql
\ir administration/write_events.sql
\ir administration/read_tenant_rows.sql
\ir administration/write_tenant_rows.sql
\ir administration/tables_of_tenants.sql
\ir administration/declare_table.sql
\ir administration/administered_tables.sql
\ir administration/carried_key.sql
\ir administration/read_tenant_table.sql
\ir administration/write_tenant_table.sql
\ir administration/hold_tenant.sql
\ir administration/change_subject.sql
\ir administration/set_quota.sql
\ir administration/define_plan.sql
\ir administration/list_plans.sql
\ir administration/purge_tenant.sql
\ir administration/moving_tenants.sql
\ir administration/tenant_overviews.sql
\ir administration/open_transactions.sql

\ir snapshots/load_snapshot.sql
\ir snapshots/save_snapshot.sql
\ir snapshots/remove_snapshot.sql

\ir checks/isolation_problems.sql

\ir privileges.sql
