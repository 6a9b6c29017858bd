//! What is refused while nobody knows what became of a change, and when it is open again.

use claviger::app::directory::{SubscriptionEdit, WorkspaceEdit};
use claviger::app::error::Code;
use claviger::app::keys::Edit;
use claviger::app::ports::{Doubt, Feed as _};
use claviger::domain::decision::Reason;

use super::stage::{is_unknown, request, stage, subscription};
use super::store::Commit;

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_key_is_refused_although_nobody_knows_that_it_is_disabled() {
    let stage = stage().await;
    let (key, other) = (stage.key().await, stage.key().await);
    stage.store.feed_fails_after(0);
    stage.store.next_commit(Commit::UnknownMade);
    is_unknown(stage.disable(&key, request(1)).await);
    assert_eq!(stage.ask(&key), Reason::KeyDisabled);
    assert!(stage.in_doubt(&key), "refused in doubt, not for what it is");
    assert_eq!(stage.ask(&other), Reason::Ok);

    stage.store.heal();
    stage.hear().await.unwrap();
    assert!(!stage.in_doubt(&key), "the feed has spoken");
    assert_eq!(stage.ask(&key), Reason::KeyDisabled, "for what it is");
    stage.index_equals_database(&[&key, &other]).await;

    let made = stage.applied();
    let answer = stage.disable(&key, request(1)).await.unwrap();
    assert_eq!(answer.revision.map(|r| r.n), Some(made));
    assert!(!answer.value.settings.enabled);
    assert_eq!(stage.applied(), made, "nothing was changed a second time");
    let again = stage.disable(&key, request(1)).await.unwrap();
    assert_eq!(again.revision, answer.revision);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_change_was_not_made_is_open_again_once_the_feed_has_spoken() {
    let stage = stage().await;
    let key = stage.key().await;
    let before = stage.applied();
    stage.store.next_commit(Commit::UnknownNotMade);
    is_unknown(stage.disable(&key, request(1)).await);
    assert_eq!(stage.ask(&key), Reason::KeyDisabled);
    stage.store.feed_fails_after(0);
    stage.hear().await.unwrap_err();
    assert_eq!(stage.ask(&key), Reason::KeyDisabled);

    stage.store.heal();
    stage.hear().await.unwrap();
    assert_eq!(stage.ask(&key), Reason::Ok);
    assert_eq!(stage.applied(), before);
    stage.index_equals_database(&[&key]).await;

    let answer = stage.disable(&key, request(1)).await.unwrap();
    assert_eq!(answer.revision.map(|r| r.n), Some(before + 1));
    assert_eq!(stage.ask(&key), Reason::KeyDisabled);
    stage.index_equals_database(&[&key]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_call_settles_a_change_in_doubt_by_itself() {
    for commit in [Commit::UnknownMade, Commit::UnknownNotMade] {
        let stage = stage().await;
        let key = stage.key().await;
        let before = stage.applied();
        stage.store.next_commit(commit);
        is_unknown(stage.disable(&key, request(1)).await);
        let answer = stage.disable(&key, request(1)).await.unwrap();
        assert_eq!(answer.revision.map(|r| r.n), Some(before + 1), "{commit:?}");
        assert_eq!(stage.ask(&key), Reason::KeyDisabled);
        stage.index_equals_database(&[&key]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_feed_can_not_be_read_each_change_closes_its_own_key_and_no_other() {
    let stage = stage().await;
    let (doubted, second, refused) = (stage.key().await, stage.key().await, stage.key().await);
    let (renamed, bystander) = (stage.key().await, stage.key().await);
    stage.store.feed_fails_after(0);
    stage.store.next_commit(Commit::UnknownNotMade);
    is_unknown(stage.disable(&doubted, None).await);

    is_unknown(stage.disable(&second, None).await);
    assert_eq!(stage.ask(&second), Reason::KeyDisabled);
    is_unknown(stage.rename(&renamed, None).await);
    stage.store.next_commit(Commit::Refused);
    let certain = stage.disable(&refused, None).await.unwrap_err();
    assert_eq!(
        (certain.code, certain.reason),
        (Code::Unavailable, "DATABASE_UNAVAILABLE")
    );
    stage.hear().await.unwrap_err();
    assert_eq!(stage.ask(&doubted), Reason::KeyDisabled);
    for open in [&renamed, &refused, &bystander] {
        assert_eq!(stage.ask(open), Reason::Ok);
    }

    stage.store.heal();
    stage.hear().await.unwrap();
    assert_eq!(stage.ask(&doubted), Reason::Ok);
    assert_eq!(stage.ask(&second), Reason::KeyDisabled);
    let all = [&doubted, &second, &refused, &renamed, &bystander];
    stage.index_equals_database(&all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_key_itself_can_not_be_read_its_doubt_stays() {
    let stage = stage().await;
    let (doubted, second, bystander) = (stage.key().await, stage.key().await, stage.key().await);
    stage.store.rows_fail(true);
    stage.store.next_commit(Commit::UnknownMade);
    is_unknown(stage.disable(&doubted, None).await);
    // The feed can be read, but it does not say what becomes of a change that was not made.
    stage.hear().await.unwrap_err();
    is_unknown(stage.disable(&second, None).await);
    assert!(stage.in_doubt(&doubted));
    assert_eq!(stage.ask(&doubted), Reason::KeyDisabled);
    assert_eq!(stage.ask(&second), Reason::KeyDisabled);
    assert_eq!(stage.ask(&bystander), Reason::Ok);

    stage.store.heal();
    stage.hear().await.unwrap();
    stage
        .index_equals_database(&[&doubted, &second, &bystander])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_commit_without_an_answer_goes_on_its_doubt_stays() {
    let stage = stage().await;
    let (key, other) = (stage.key().await, stage.key().await);
    stage.store.next_commit(Commit::UnderWay);
    is_unknown(stage.disable(&key, None).await);
    // Feed and row can be read, and tell nothing of it yet.
    stage.hear().await.unwrap_err();
    assert!(stage.in_doubt(&key));
    assert_eq!(stage.ask(&key), Reason::KeyDisabled);
    assert_eq!(stage.ask(&other), Reason::Ok);

    stage.store.end_commit().await;
    stage.hear().await.unwrap();
    assert!(!stage.in_doubt(&key), "the feed has spoken");
    assert_eq!(stage.ask(&key), Reason::KeyDisabled, "for what it is");
    stage.index_equals_database(&[&key, &other]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_a_later_change_settles_an_older_doubt() {
    let stage = stage().await;
    let (doubted, other) = (stage.key().await, stage.key().await);
    stage.store.next_commit(Commit::UnknownNotMade);
    is_unknown(stage.disable(&doubted, None).await);
    stage.disable(&other, None).await.unwrap();
    assert_eq!(stage.ask(&other), Reason::KeyDisabled);
    assert_eq!(stage.ask(&doubted), Reason::Ok);
    stage.index_equals_database(&[&doubted, &other]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_in_doubt_does_not_close_the_key() {
    for commit in [Commit::UnknownMade, Commit::UnknownNotMade] {
        let stage = stage().await;
        let key = stage.key().await;
        stage.store.feed_fails_after(0);
        stage.store.next_commit(commit);
        is_unknown(stage.rename(&key, request(1)).await);
        assert_eq!(stage.ask(&key), Reason::Ok, "{commit:?}");
        stage.store.heal();
        let answer = stage.rename(&key, request(1)).await.unwrap();
        assert_eq!(answer.value.settings.display_name, "renamed");
        stage.index_equals_database(&[&key]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_that_may_be_disabled_is_closed_until_the_feed_has_spoken() {
    for (commit, then) in [
        (Commit::UnknownMade, Reason::WorkspaceDisabled),
        (Commit::UnknownNotMade, Reason::Ok),
    ] {
        let stage = stage().await;
        let key = stage.key().await;
        stage.store.feed_fails_after(0);
        stage.store.next_commit(commit);
        is_unknown(stage.edit_workspace(WorkspaceEdit::Enabled(false)).await);
        assert!(stage.workspace_in_doubt());
        assert_eq!(stage.ask(&key), Reason::WorkspaceDisabled);
        stage.store.heal();
        stage.store.rows_fail(true);
        stage.hear().await.unwrap_err();
        assert_eq!(stage.ask(&key), Reason::WorkspaceDisabled);
        stage.store.heal();
        stage.hear().await.unwrap();
        assert_eq!(stage.ask(&key), then, "{commit:?}");
        stage.index_equals_database(&[&key]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_may_be_disabled_closes_its_workspace_until_the_feed_has_spoken() {
    for (commit, then) in [
        (Commit::UnknownMade, Reason::SubscriptionNotAllowed),
        (Commit::UnknownNotMade, Reason::Ok),
    ] {
        let stage = stage().await;
        stage.make_subscription().await;
        let key = stage.key().await;
        let named = subscription();
        assert_eq!(stage.ask_for(&key, named.as_str()), Reason::Ok);
        stage.store.feed_fails_after(0);
        stage.store.next_commit(commit);
        is_unknown(
            stage
                .edit_subscription(SubscriptionEdit::Enabled(false))
                .await,
        );
        let reason = stage.ask_for(&key, named.as_str());
        assert_eq!(reason, Reason::WorkspaceDisabled);
        stage.store.heal();
        stage.hear().await.unwrap();
        assert_eq!(stage.ask_for(&key, named.as_str()), then, "{commit:?}");
        assert_eq!(stage.ask(&key), Reason::Ok);
        stage.index_equals_database(&[&key]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_or_subscription_that_may_be_renamed_stays_open() {
    let stage = stage().await;
    stage.make_subscription().await;
    let key = stage.key().await;
    stage.store.feed_fails_after(0);
    let name = || "Renamed".to_owned();
    for commit in [Commit::UnknownMade, Commit::UnknownNotMade] {
        stage.store.next_commit(commit);
        is_unknown(
            stage
                .edit_workspace(WorkspaceEdit::DisplayName(name()))
                .await,
        );
        stage.store.next_commit(commit);
        let edit = SubscriptionEdit::DisplayName(name());
        is_unknown(stage.edit_subscription(edit).await);
        assert!(!stage.workspace_in_doubt());
        let reason = stage.ask_for(&key, subscription().as_str());
        assert_eq!(reason, Reason::Ok, "{commit:?}");
    }
    stage.store.heal();
    stage.hear().await.unwrap();
    stage.index_equals_database(&[&key]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_call_is_answered_only_once_its_change_is_in_force_here() {
    let stage = stage().await;
    let key = stage.key().await;
    stage.disable(&key, None).await.unwrap();
    // Access is given here, not taken: only who waits for the feed can know when it is.
    stage.store.feed_fails_after(0);
    let enable = || stage.edit(&key, Edit::Enabled(true), request(1));
    is_unknown(enable().await);
    let before = stage.applied();
    for _ in 0..2 {
        is_unknown(enable().await);
        assert_eq!(stage.ask(&key), Reason::KeyDisabled);
        assert_eq!(stage.applied(), before);
    }

    stage.store.heal();
    let answer = enable().await.unwrap();
    assert_eq!(answer.revision.map(|r| r.n), Some(before + 1));
    assert_eq!(stage.applied(), before + 1);
    assert_eq!(stage.ask(&key), Reason::Ok, "in force with the answer");
    stage.index_equals_database(&[&key]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubt_that_comes_after_its_change_was_applied_is_settled_before_the_call_is_answered() {
    let stage = stage().await;
    let key = stage.key().await;
    let rename = || stage.rename(&key, request(1));
    let answer = rename().await.unwrap();
    // As where one call fails to apply its change, another applies it, and only then the first says so.
    stage.follower.doubt(Doubt {
        keys: vec![key.id],
        workspaces: Vec::new(),
    });
    assert_eq!(stage.ask(&key), Reason::KeyDisabled);
    stage.store.feed_fails_after(0);
    is_unknown(rename().await);
    assert_eq!(stage.ask(&key), Reason::KeyDisabled);
    stage.store.heal();
    assert_eq!(rename().await.unwrap().revision, answer.revision);
    assert_eq!(stage.ask(&key), Reason::Ok, "settled with the answer");
    stage.index_equals_database(&[&key]).await;
}
