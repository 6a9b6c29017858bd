//! `claviger import`: what is sent, and what becomes of it.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value;
use tonic::Status;

use super::super::Exit;
use super::super::io::testing::Captured;
use super::fake::{Fake, run, run_with};
use crate::grpc::proto::v1;
use v1::secret_source::Source;

const ADMIN: (&str, &str) = ("CLAVIGER_TOKEN", "admin-token");

/// Lines of a file with this many keys.
fn lines(count: usize) -> String {
    (1..=count).fold(String::new(), |mut text, n| {
        let _ = writeln!(
            text,
            r#"{{"import_id": "i{n}", "key": {{"display_name": "n{n}"}}, "primary": {{"external_token": {{"token": "s3cret-{n}"}}}}}}"#
        );
        text
    })
}

fn ids(fake: &Fake) -> Vec<String> {
    let imported = fake.imported.lock().unwrap();
    imported.iter().map(|item| item.import_id.clone()).collect()
}

fn report(path: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(!text.contains("s3cret"), "{text}");
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    // Beside them stand two lines that say what the report is of.
    lines
        .filter(|line: &Value| line.get("item").is_some())
        .collect()
}

fn summary(io: &Captured) -> Value {
    serde_json::from_str(&io.out()).unwrap()
}

#[tokio::test]
async fn a_file_is_sent_in_batches_and_a_second_time_changes_nothing() {
    let fake = Fake::default();
    let file = lines(1_201);
    let args = ["import", "-", "-w", "acme", "-o=json"];
    let (exit, io) = run(&fake, &args, file.as_bytes()).await;
    assert_eq!(exit, Exit::Ok, "{}", io.err());
    assert_eq!(summary(&io)["created"], 1_201);
    assert_eq!(summary(&io)["complete"], true);
    assert_eq!(
        ids(&fake),
        (1..=1_201).map(|n| format!("i{n}")).collect::<Vec<_>>()
    );
    assert_eq!(
        fake.calls.lock().unwrap().drain(..).collect::<Vec<_>>(),
        ["1000", "201"].map(|n| format!("{n} in \"acme\", validate_only false"))
    );
    let (exit, io) = run(&fake, &args, file.as_bytes()).await;
    assert_eq!(exit, Exit::Ok, "{}", io.err());
    assert_eq!(
        (&summary(&io)["created"], &summary(&io)["already_imported"]),
        (&0.into(), &1_201.into())
    );
}

#[tokio::test]
async fn messages_stay_small_whatever_their_items() {
    let fake = Fake::default();
    let long = "x".repeat(1_000);
    let file = (0..3_000).fold(String::new(), |mut text, n| {
        let _ = writeln!(text, r#"{{"import_id": "i{n}", "key": {{"description": "{long}"}}, "primary": {{"external_token": {{"token": "t"}}}}}}"#);
        text
    });
    let (exit, io) = run(
        &fake,
        &["import", "-", "--batch-size=1000"],
        file.as_bytes(),
    )
    .await;
    assert_eq!(exit, Exit::Ok, "{}", io.err());
    assert_eq!(fake.calls.lock().unwrap().len(), 3);
    let long = "x".repeat(10_000);
    let file = file.replace(&"x".repeat(1_000), &long);
    fake.calls.lock().unwrap().clear();
    let (_, _) = run(
        &fake,
        &["import", "-", "--batch-size=1000"],
        file.as_bytes(),
    )
    .await;
    assert!(
        fake.calls.lock().unwrap().len() >= 28,
        "a message is at most about 1 MiB"
    );
}

#[tokio::test]
async fn refused_items_keep_no_other_back_and_are_told_by_line_and_field() {
    let fake = Fake::default();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report");
    let mut file = lines(2);
    file.push_str("not json s3cret\n");
    file.push_str("{\"import_id\": \"i4\", \"key\": {\"scopes\": \"s3cret\"}}\n\n");
    file.push_str(
        &lines(1)
            .replace("\"n1\"", "\"bad name\"")
            .replace("\"i1\"", "\"i6\""),
    );
    let flag = format!("--report={}", path.display());
    let (exit, io) = run(
        &fake,
        &["import", "-", "--format=jsonl", &flag],
        file.as_bytes(),
    )
    .await;
    assert_eq!(exit, Exit::Failed);
    assert_eq!(ids(&fake), ["i1", "i2"]);
    let err = io.err();
    assert!(err.contains("refused: line 3 (no import_id): the line is no JSON object (near column 2) (INVALID_FIELD)\n"), "{err}");
    assert!(
        err.contains(
            "refused: line 4 (i4): `key.scopes` must be a list of strings (INVALID_FIELD)\n"
        ),
        "{err}"
    );
    assert!(
        err.contains("refused: line 6 (i6): `key.display_name` is bad (INVALID_FIELD)\n"),
        "{err}"
    );
    assert!(
        !err.contains("s3cret") && !io.out().contains("s3cret"),
        "{err}"
    );
    assert!(
        io.out()
            .starts_with("created         2\nalready there   0\nrefused         3\n"),
        "{}",
        io.out()
    );
    let outcomes: Vec<_> = report(&path)
        .into_iter()
        .map(|l| {
            (
                l["item"].as_u64().unwrap(),
                l["line"].as_u64().unwrap(),
                l["outcome"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    assert_eq!(
        outcomes,
        [
            (1, 1, "CREATED"),
            (2, 2, "CREATED"),
            (3, 3, "REFUSED"),
            (4, 4, "REFUSED"),
            (5, 6, "REFUSED")
        ]
        .map(|(item, line, outcome)| (item, line, outcome.to_owned()))
    );
}

#[tokio::test]
async fn a_broken_connection_is_tried_again_and_nothing_is_lost_or_made_twice() {
    let fake = Fake::default();
    fake.breaks.lock().unwrap().extend([1, 0, 2]);
    let file = lines(1_000);
    let (exit, io) = run(
        &fake,
        &["import", "-", "--batch-size=100", "-o=json"],
        file.as_bytes(),
    )
    .await;
    assert_eq!(exit, Exit::Ok, "{}", io.err());
    assert_eq!(
        ids(&fake),
        (1..=1_000).map(|n| format!("i{n}")).collect::<Vec<_>>()
    );
    assert_eq!(summary(&io)["created"], 1_000);
    assert_eq!(
        io.err().matches("; trying again in").count(),
        3,
        "{}",
        io.err()
    );
}

#[tokio::test]
async fn what_the_server_means_is_not_tried_again() {
    let fake = Fake {
        broken: Some(Status::permission_denied(
            "the key lacks `claviger:keys:write`",
        )),
        ..Fake::default()
    };
    fake.breaks.lock().unwrap().push_back(1);
    let (exit, io) = run(
        &fake,
        &["import", "-", "--batch-size=10"],
        lines(50).as_bytes(),
    )
    .await;
    assert_eq!(exit, Exit::Denied);
    assert_eq!(ids(&fake).len(), 10);
    assert!(
        io.err().contains(
            "error: the key lacks `claviger:keys:write`\n  the same command again goes on"
        ),
        "{}",
        io.err()
    );
    assert!(io.out().starts_with("created         10\n"), "{}", io.out());
    fake.breaks.lock().unwrap().push_back(0);
    let gone = Fake {
        broken: None,
        ..fake
    };
    let (exit, _) = run(
        &gone,
        &["import", "-", "--retry-for=0s"],
        lines(1).as_bytes(),
    )
    .await;
    assert_eq!(exit, Exit::Unreachable);
}

#[tokio::test]
async fn an_interrupted_import_takes_down_what_was_answered_and_can_be_gone_on_with() {
    let gate = Arc::new(tokio::sync::Semaphore::new(1));
    let fake = Fake {
        gate: Some(Arc::clone(&gate)),
        ..Fake::default()
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report");
    let flag = format!("--report={}", path.display());
    let file = lines(1_000);
    let (interrupt, wanted) = tokio::sync::oneshot::channel();
    let captured = Captured {
        input: file.clone().into_bytes(),
        environment: vec![(ADMIN.0, ADMIN.1.to_owned())],
        interrupt: Some(wanted),
        ..Captured::default()
    };
    let args = ["import", "-", "--batch-size=100", &flag];
    let first = run_with(&fake, &args, captured);
    let interrupting = async {
        fake.answered.notified().await;
        interrupt.send(()).unwrap();
        // What was under way is answered.
        gate.add_permits(1_000);
    };
    let ((exit, io), ()) = tokio::join!(first, interrupting);
    assert_eq!(exit, Exit::Interrupted, "{}", io.err());
    assert!(
        io.err()
            .contains("the same command with `--resume` goes on"),
        "{}",
        io.err()
    );
    let done = report(&path).len();
    assert!((100..=500).contains(&done), "{done}");
    assert_eq!(ids(&fake).len(), done);
    fake.calls.lock().unwrap().clear();
    let (exit, io) = run(&fake, &["import", "-", &flag], file.as_bytes()).await;
    assert_eq!(exit, Exit::Usage);
    assert!(
        io.err().contains("`--resume` goes on with it"),
        "{}",
        io.err()
    );
    let (exit, io) = run(
        &fake,
        &["import", "-", &flag, "--resume", "-o=json"],
        file.as_bytes(),
    )
    .await;
    assert_eq!(exit, Exit::Ok, "{}", io.err());
    assert_eq!(summary(&io)["skipped"], done);
    assert_eq!(summary(&io)["created"], 1_000 - done);
    assert_eq!(report(&path).len(), 1_000);
    assert_eq!(
        ids(&fake),
        (1..=1_000).map(|n| format!("i{n}")).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_report_of_another_place_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report");
    let flag = format!("--report={}", path.display());
    let file = lines(20);
    let args = ["import", "-", "-w=acme", &flag, "--resume", "-o=json"];
    let fake = Fake::default();
    let (exit, io) = run(&fake, &args, file.as_bytes()).await;
    assert_eq!(exit, Exit::Ok, "{}", io.err());
    let (exit, io) = run(&fake, &args, file.as_bytes()).await;
    assert_eq!(exit, Exit::Ok, "{}", io.err());
    assert_eq!(summary(&io)["skipped"], 20);
    assert_eq!(report(&path).len(), 20);
    // Another workspace: nothing is sent.
    let other = ["import", "-", "-w=other", &flag, "--resume"];
    let asked = fake.calls.lock().unwrap().len();
    let (exit, io) = run(&fake, &other, file.as_bytes()).await;
    assert_eq!(exit, Exit::Usage);
    assert!(
        io.err().contains(
            "is of an import into workspace `acme`, and this one is into workspace `other`"
        ),
        "{}",
        io.err()
    );
    assert_eq!(fake.calls.lock().unwrap().len(), asked);
    // Another server, which knows none of these keys: nothing is taken for done.
    let another = Fake::default();
    let (exit, io) = run(&another, &args, file.as_bytes()).await;
    assert_eq!(exit, Exit::Usage, "{}", io.out());
    assert!(
        io.err()
            .contains("shows `i1` as done, and the server did not know it")
            && !io.err().contains("the same command with `--resume`"),
        "{}",
        io.err()
    );
    assert_eq!(summary(&io)["skipped"], 0);
    assert_eq!(report(&path).len(), 20);
}

#[tokio::test]
async fn a_dry_run_says_so_and_proves_nothing() {
    let fake = Fake::default();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report");
    let flag = format!("--report={}", path.display());
    let (exit, io) = run(
        &fake,
        &["import", "-", "--dry-run", &flag],
        lines(3).as_bytes(),
    )
    .await;
    assert_eq!(exit, Exit::Ok, "{}", io.err());
    assert!(io.out().contains("valid           3\n") && io.err().contains("nothing was changed"));
    assert_eq!(
        fake.calls.lock().unwrap()[0],
        "3 in \"\", validate_only true"
    );
    let (_, io) = run(
        &fake,
        &["import", "-", "-o=json", &flag, "--resume"],
        lines(3).as_bytes(),
    )
    .await;
    assert_eq!(
        (&summary(&io)["skipped"], &summary(&io)["created"]),
        (&0.into(), &3.into())
    );
}

#[tokio::test]
async fn what_the_file_does_not_say_comes_from_the_options() {
    let fake = Fake::default();
    let file = "import_id,display_name,sha256_hex,asserted_bits,scopes,allowed_cidrs\n1,a,00,,,\n2,b,11,200,x y,10.0.0.0/8\n";
    let args = [
        "import",
        "-",
        "--default-scope=r,w",
        "--cidr=192.0.2.0/24",
        "--asserted-bits=128",
        "--allow-weak",
        "--import-id-prefix=old-",
    ];
    let (exit, io) = run(&fake, &args, file.as_bytes()).await;
    assert_eq!(exit, Exit::Ok, "{}", io.err());
    let imported = fake.imported.lock().unwrap();
    let of = |n: usize| {
        let key = imported[n].key.clone().unwrap();
        let Some(Source::ExternalDigest(digest)) = imported[n].primary.clone().unwrap().source
        else {
            panic!("no digest")
        };
        (
            imported[n].import_id.clone(),
            key.scopes,
            key.allowed_cidrs,
            digest.asserted_entropy_bits,
            digest.allow_weak,
        )
    };
    let list = |items: &[&str]| items.iter().map(|i| (*i).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        of(0),
        (
            "old-1".to_owned(),
            list(&["r", "w"]),
            list(&["192.0.2.0/24"]),
            128,
            true
        )
    );
    assert_eq!(
        of(1),
        (
            "old-2".to_owned(),
            list(&["x", "y"]),
            list(&["10.0.0.0/8"]),
            200,
            true
        )
    );
}
