//! An import whose commit ends in doubt is settled by sending it again.

use claviger::app::error::Code;
use claviger::app::keys::{Import, ImportItem, ImportOutcome, Imported, NewImport, Source};
use claviger::domain::token::Token;

use super::stage::{Stage, is_unknown, settings, stage, workspace};
use super::store::Commit;

fn items(count: u32) -> Vec<ImportItem> {
    let item = |n: u32| ImportItem {
        import_id: format!("item-{n}"),
        content: n.to_be_bytes().to_vec().into(),
        key: Ok(NewImport {
            settings: settings(),
            create_time: None,
            primary: Source::Token {
                token: Token::external(format!("fX8{n:04}qLw2Rt7Vb1Nz5Kc9Jh3Gm6Pd4Sa0Ye")).unwrap(),
                allow_weak: false,
            },
            secondary: None,
        }),
    };
    (0..count).map(item).collect()
}

impl Stage {
    async fn import(&self, count: u32) -> Result<Imported, claviger::app::error::Error> {
        let import = Import {
            caller: self.caller(),
            workspace: workspace(),
            dry_run: false,
        };
        self.core.import_keys(import, items(count), ()).await
    }
}

fn made(imported: &Imported) -> usize {
    let made = |o: &&ImportOutcome| matches!(o, ImportOutcome::Made(_));
    imported.outcomes.iter().filter(made).count()
}

fn already(imported: &Imported) -> usize {
    let already = |o: &&ImportOutcome| matches!(o, ImportOutcome::Already(Some(_)));
    imported.outcomes.iter().filter(already).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_in_doubt_is_settled_by_sending_it_again() {
    for (commit, found) in [(Commit::UnknownMade, 3), (Commit::UnknownNotMade, 0)] {
        let stage = stage().await;
        stage.store.next_commit(commit);
        is_unknown(stage.import(3).await);
        let again = stage.import(3).await.unwrap();
        assert_eq!((already(&again), made(&again)), (found, 3 - found));
        assert_eq!(stage.core.index.len().0, 4, "and the administrator");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_the_database_refuses_changes_nothing_and_says_so_without_a_request_id() {
    let stage = stage().await;
    stage.store.next_commit(Commit::Refused);
    let error = stage.import(3).await.unwrap_err();
    assert_eq!(
        (error.code, error.reason),
        (Code::Unavailable, "DATABASE_UNAVAILABLE")
    );
    assert!(!error.message.contains("request_id"));
    assert_eq!(stage.core.index.len().0, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_the_index_can_not_follow_is_answered_as_unknown() {
    let stage = stage().await;
    // Three transactions; the index hears of the first alone.
    stage.store.feed_fails_after(1);
    is_unknown(stage.import(900).await);
    stage.store.heal();
    let again = stage.import(900).await.unwrap();
    assert_eq!(again.outcomes.len(), 900);
    assert_eq!(already(&again) + made(&again), 900);
    assert_eq!(stage.core.index.len().0, 901);
}
