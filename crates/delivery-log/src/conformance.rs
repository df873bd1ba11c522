//! One suite that every backend passes.
//!
//! A backend gives a [`Backend`], and [`conformance_suite!`] makes a test of
//! every sentence below. What a caller may rely on stands here; what only one
//! backend does is tested beside it.

mod access;
mod audit;
mod catalogue;
mod deliveries;
mod engine;
mod erasures;
mod events;
mod lanes;
mod portal;
mod quarantine;
mod replays;
mod scene;

use std::sync::Arc;

use async_trait::async_trait;

pub use scene::{Scene, entry, event_of_type};

use crate::{Env, SharedStore};

/// A database of one backend, empty at first.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Opens the store as its server.
    async fn open(&self, env: Env) -> SharedStore;

    /// Opens it again after the process that had it open died without a word.
    async fn reopen_after_crash(&self, store: SharedStore, env: Env) -> SharedStore;
}

/// Sentences by the aggregate that they are about.
macro_rules! sentences {
    ($($aggregate:ident: $($sentence:ident),* $(,)?;)*) => {
        /// Makes a test of every sentence, for a backend made by an expression.
        #[macro_export]
        macro_rules! conformance_suite {
            ($backend:expr) => {
                $($(
                    #[tokio::test]
                    async fn $sentence() {
                        $crate::conformance::$sentence(std::sync::Arc::new($backend)).await;
                    }
                )*)*
            };
        }

        $($(
            #[doc = concat!("Checks that ", stringify!($sentence), ".")]
            pub async fn $sentence(backend: Arc<dyn Backend>) {
                $aggregate::$sentence(Scene::open(backend).await).await;
            }
        )*)*
    };
}

sentences! {
    access:
        a_project_is_made_once_and_found_by_name,
        a_tenant_has_no_more_keys_than_it_may_and_a_revoked_one_makes_room,
        a_grant_opens_as_it_was_sealed_and_nothing_else_does,
        a_master_key_that_is_not_the_stores_wraps_nothing,
        a_key_answers_to_its_token_until_it_is_revoked,
        a_rotated_key_answers_to_both_tokens_during_the_overlap,
        a_key_bound_to_a_tenant_ends_with_the_tenant,
        a_change_that_expects_another_state_changes_nothing,
        a_tenant_created_again_sees_nothing_old,
        an_endpoint_keeps_its_secrets_and_headers,
        a_repeated_creation_gets_the_first_answer,
        a_project_keeps_its_settings_and_changes_once,
        the_operator_sees_and_revokes_the_keys_of_all_projects,
        the_last_use_of_a_key_is_kept_and_those_not_used_are_found,
        tenants_are_listed_and_change_once,
        secrets_are_replaced_once,
        an_endpoint_is_disabled_with_its_reason_unless_it_was_changed,
        a_store_is_ready_until_it_is_closed;
    erasures:
        an_erased_tenant_leaves_nothing_but_the_receipt,
        a_tenant_that_was_deleted_long_ago_is_erased_beside_its_successor,
        an_erased_subject_is_gone_and_the_others_stay,
        the_end_of_a_call_brings_nothing_back_that_was_erased_meanwhile,
        an_erasure_goes_on_after_a_crash;
    events:
        a_published_event_is_read_back_byte_for_byte,
        sequences_count_the_events_of_each_tenant_without_gaps,
        a_repeated_publish_gets_the_first_answer_and_stores_nothing,
        a_key_used_for_something_else_is_refused,
        an_event_that_no_endpoint_wants_is_stored_with_the_reasons,
        an_event_for_a_deleted_tenant_is_refused,
        lists_of_events_are_filtered_and_paged_in_both_orders,
        what_belongs_to_others_is_not_found,
        an_event_for_many_endpoints_reaches_each_of_them_once,
        what_was_left_of_an_event_for_many_endpoints_is_gone_on_with,
        those_that_get_events_in_order_are_given_them_with_the_commit,
        old_events_are_purged_unless_something_waits,
        events_of_a_batch_are_numbered_in_their_order_and_fail_alone,
        the_first_answer_to_a_publish_is_told_before_it_is_repeated;
    deliveries:
        a_finished_attempt_and_the_next_state_are_read_back,
        an_attempt_that_is_written_twice_stands_once,
        a_late_attempt_is_logged_and_changes_no_state,
        a_failed_delivery_is_replayed_on_a_fresh_schedule,
        a_delivered_one_is_replayed_only_by_force,
        a_paused_endpoint_holds_its_deliveries_and_refuses_replays,
        a_canceled_delivery_is_never_claimed,
        deliveries_are_listed_by_status_endpoint_and_error,
        what_waits_for_a_deleted_endpoint_is_canceled,
        what_was_held_for_too_long_expires,
        what_the_body_of_a_delivery_is_made_of_is_read_back;
    lanes:
        what_is_due_is_claimed_once_and_in_order,
        a_lane_has_one_owner_and_epochs_grow,
        released_deliveries_can_be_claimed_by_the_next_owner,
        what_a_dead_process_had_in_hand_is_logged_as_interrupted_and_due,
        a_publish_into_an_owned_lane_needs_no_claim,
        idle_lanes_with_due_work_are_found,
        a_test_call_can_be_claimed_alone_while_all_else_is_held,
        a_process_that_gave_everything_back_leaves_nothing_to_take_over;
    portal:
        a_portal_session_answers_to_its_token_until_it_runs_out,
        a_code_is_exchanged_once_and_in_time,
        portal_sessions_end_one_by_one_with_their_tenant_or_their_key,
        sessions_outlive_their_key_unless_they_are_to_end,
        no_session_is_opened_by_a_revoked_key_or_for_a_deleted_tenant,
        what_ends_no_session_changes_no_configuration,
        a_tenant_has_a_bounded_number_of_portal_sessions_and_old_ones_are_forgotten;
    replays:
        what_a_replay_would_send_is_counted_before_it_is_made,
        a_paused_replay_sends_nothing_and_a_canceled_one_withdraws_what_waits,
        replays_are_listed_and_forgotten_when_they_ended_long_ago;
    quarantine:
        an_event_in_quarantine_is_read_back_and_listed_by_its_state,
        a_release_keeps_others_away_until_it_came_to_something,
        what_was_in_quarantine_for_longer_than_events_are_kept_is_forgotten;
    audit:
        an_entry_is_written_with_its_change_and_not_without_it,
        entries_are_found_by_all_that_they_say_and_by_those_who_may_see_them,
        the_log_is_listed_page_by_page_in_both_directions_while_it_grows,
        old_entries_are_forgotten_from_the_beginning_and_the_rest_is_whole;
    catalogue:
        a_type_is_saved_only_if_nothing_changed_since_it_was_checked,
        a_type_is_removed_on_the_same_condition,
        how_much_an_endpoint_gets_of_a_type_is_counted_since_a_time,
        the_data_of_an_older_version_is_kept_for_those_who_are_pinned_to_it;
    engine:
        those_of_one_key_are_claimed_one_after_the_other,
        one_that_has_failed_too_often_holds_its_followers_no_longer,
        a_lane_finds_what_may_go_behind_many_that_may_not,
        a_pause_of_the_tenant_or_the_project_holds_all_of_its_endpoints,
        a_filter_keeps_events_away_and_the_event_says_so,
        how_an_endpoint_is_called_and_its_credentials_are_read_back,
        policies_are_kept_by_name_and_not_removed_while_in_use,
        the_rate_of_a_replay_is_a_pace,
        what_failed_is_due_when_the_endpoint_is_reset_moved_or_enabled_again,
        what_a_limit_of_calls_spaces_is_seen_as_held_by_it,
        a_held_delivery_says_until_when_and_what_the_endpoint_answered,
        what_waits_is_given_the_time_of_a_jump_again;
}
