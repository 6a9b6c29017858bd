//! Backup and restore with the real binary: taken beside a service that writes, and served from again.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use claviger::grpc::proto::v1::{self, Decision};

use crate::harness::{
    Admin, BINARY, Folder, Made, Process, SOAK, figure, is_delay, key, many, register,
};

/// How many keys are restored to be walked through.
const MANY: u32 = if SOAK { 100_000 } else { 5_000 };
/// How many of them change meanwhile.
const CHANGES: usize = 1_000;
const PAGE: i32 = MANY as i32 / 20;

fn claviger(what: &str, file: &Path, data: &Path) -> Output {
    let mut command = Command::new(BINARY);
    command.env_clear().arg(what).arg(file);
    command.arg("--data-dir").arg(data);
    command.output().unwrap()
}

#[track_caller]
fn done(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[track_caller]
fn refused(output: &Output, word: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(word), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
}

/// A folder that is to be restored into: the root key is there already.
fn beside(old: &Folder) -> Arc<Folder> {
    let new = Folder::new();
    std::fs::create_dir(new.data()).unwrap();
    std::fs::copy(old.data().join("root-key"), new.data().join("root-key")).unwrap();
    new
}

fn list(admin: &Admin, token: &str) -> Result<v1::ListKeysResponse, tonic::Status> {
    admin.list_keys(v1::ListKeysRequest {
        workspace: "default".to_owned(),
        page_size: 2,
        page_token: token.to_owned(),
        ..Default::default()
    })
}

#[test]
fn a_backup_of_a_serving_process_is_served_from_again_with_every_acknowledged_key() {
    let folder = Folder::new();
    let process = Process::start(&folder, &[]);
    let admin = process.admin();
    let made: Vec<Made> = (0..20)
        .map(|n| admin.make("default", key(&format!("before {n}"), &[])))
        .collect();
    let file = folder.path().join("backup.jsonl");
    let page = list(&admin, "").unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Writes go on while the backup is taken, and none of them waits for it.
        let writes = scope.spawn(|| {
            let mut more = 0;
            while !stop.load(Ordering::SeqCst) || more == 0 {
                admin.make("default", key("meanwhile", &[]));
                more += 1;
            }
        });
        done(&claviger("backup", &file, &folder.data()));
        stop.store(true, Ordering::SeqCst);
        writes.join().unwrap();
    });
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!folder.path().join("backup.jsonl.partial").exists());
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(made.iter().all(|made| !text.contains(&made.token)));
    // The same through a pipe.
    let piped = claviger("backup", Path::new("-"), &folder.data());
    done(&piped);
    assert!(piped.stdout.starts_with(b"{\"claviger_backup\":1,"));
    let revision = admin.decide("default", &made[0].token).revision;

    refused(&claviger("restore", &file, &folder.data()), "in use");
    let other = Folder::new();
    refused(&claviger("restore", &file, &other.data()), "root key");
    std::fs::write(other.data().join("root-key"), "a".repeat(64)).unwrap();
    refused(&claviger("restore", &file, &other.data()), "root key");

    let new = beside(&folder);
    std::fs::copy(
        folder.data().join("bootstrap-token"),
        new.data().join("bootstrap-token"),
    )
    .unwrap();
    let cut = folder.path().join("cut.jsonl");
    std::fs::write(&cut, &text.as_bytes()[..text.len() / 2]).unwrap();
    refused(&claviger("restore", &cut, &new.data()), "cut off");
    done(&claviger("restore", &file, &new.data()));
    refused(&claviger("restore", &file, &new.data()), "not empty");

    let restored = Process::start(&new, &[]);
    let admin = restored.admin();
    for made in &made {
        let decision = admin.decide("default", &made.token);
        assert_eq!(decision.decision(), Decision::Allow, "{}", made.id);
    }
    let there = admin.decide("default", &made[0].token).revision;
    let epoch = |revision: &str| revision.split('.').next().unwrap().to_owned();
    assert_ne!(epoch(&there), epoch(&revision));
    // A place in a list is a place in an order, which is the same; a revision is of a history, which is not.
    let next = list(&admin, &page.next_page_token).unwrap();
    assert_ne!(next.keys[0].id, page.keys[0].id);
    let old = admin.check(v1::CheckRequest {
        workspace: "default".to_owned(),
        at_least_revision: revision,
        ..Default::default()
    });
    let status = old.unwrap_err();
    assert!(status.message().contains("another history"), "{status:?}");
}

#[test]
fn a_walk_through_all_keys_misses_none_and_repeats_none_while_a_thousand_others_change() {
    let folder = Folder::new();
    let mut process = Process::start(&folder, &[]);
    let read: Vec<_> = (0..50).map(|n| format!("orders:read{n}")).collect();
    let scopes: Vec<_> = read.iter().map(String::as_str).collect();
    let admin = process.admin();
    admin.declare("default", &["messages:send"]);
    admin.declare("default", &scopes);
    assert!(process.stop().success());
    let file = folder.path().join("backup.jsonl");
    done(&claviger("backup", &file, &folder.data()));
    let small = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, many::with_many(&small, MANY)).unwrap();
    let new = beside(&folder);
    std::fs::copy(
        folder.data().join("bootstrap-token"),
        new.data().join("bootstrap-token"),
    )
    .unwrap();
    let began = Instant::now();
    done(&claviger("restore", &file, &new.data()));
    figure(&format!("a restore of {MANY} keys: {:?}", began.elapsed()));
    let process = Process::start(&new, &[]);
    let admin = process.admin();
    search(&admin);
    let mut changed = std::collections::HashSet::new();
    for (round, order) in [
        "create_time",
        "create_time desc",
        "display_name",
        "display_name desc",
    ]
    .into_iter()
    .enumerate()
    {
        walk(&admin, order, round, &mut changed);
    }
    figure(&format!(
        "walks through {MANY} keys while {CHANGES} change, in 4 orders: 0 missed, 0 twice"
    ));
}

/// Walks while every so many keys, spread over all, are renamed, disabled or deleted, and others are made.
fn walk(admin: &Admin, order: &str, round: usize, changed: &mut std::collections::HashSet<String>) {
    let request = |token: &str| v1::ListKeysRequest {
        workspace: "default".to_owned(),
        order_by: order.to_owned(),
        page_size: PAGE.min(1_000),
        page_token: token.to_owned(),
        ..Default::default()
    };
    let everything = || {
        let (mut all, mut token) = (Vec::new(), String::new());
        loop {
            let page = admin.list_keys(request(&token)).unwrap();
            all.extend(page.keys.into_iter().map(|key| key.id));
            token = page.next_page_token;
            if token.is_empty() {
                return all;
            }
        }
    };
    let before = everything();
    let every = before.len() / CHANGES;
    let to_change: Vec<_> = before.iter().skip(round % every).step_by(every).collect();
    changed.extend(to_change.iter().map(|id| (*id).clone()));
    let (tell, told) = std::sync::mpsc::sync_channel(0);
    let walked = std::thread::scope(|scope| {
        scope.spawn(move || {
            // From both ends at once: before and behind whoever walks.
            for n in 0..to_change.len() {
                let at = if n % 2 == 0 {
                    n / 2
                } else {
                    to_change.len() - 1 - n / 2
                };
                change(admin, to_change[at], n);
                if n % 50 == 0 {
                    // Who walks may have arrived already.
                    let _ = tell.send(());
                }
            }
        });
        let (mut walked, mut token) = (Vec::new(), String::new());
        loop {
            let _ = told.recv();
            let page = admin.list_keys(request(&token)).unwrap();
            walked.extend(page.keys.into_iter().map(|key| key.id));
            token = page.next_page_token;
            if token.is_empty() {
                drop(told);
                return walked;
            }
        }
    });
    let mut times = std::collections::HashMap::new();
    for id in walked {
        *times.entry(id).or_insert(0) += 1;
    }
    for id in before.iter().filter(|id| !changed.contains(*id)) {
        assert_eq!(times.get(id), Some(&1), "{id}, ordered by {order}");
    }
}

/// Changes a key, sooner or later: on a busy machine the database may be too slow for one call, which then says so.
fn change(admin: &Admin, id: &str, n: usize) {
    while let Err(status) = try_to_change(admin, id, n) {
        assert!(is_delay(&status), "{status:?}");
    }
}

fn try_to_change(admin: &Admin, id: &str, n: usize) -> Result<(), tonic::Status> {
    match n % 4 {
        0 => {
            let renamed = v1::Key {
                id: id.to_owned(),
                ..key(
                    &format!("{} renamed", ["A", "Integration", "Z"][n % 3]),
                    &[],
                )
            };
            admin.update(renamed, &["display_name"])?;
        }
        1 => drop(admin.enable(id, false)?),
        2 => {
            let create = v1::CreateKeyRequest {
                workspace: "default".to_owned(),
                key: Some(key(&format!("Integration {n:07} new"), &[])),
                ..Default::default()
            };
            let made = admin.create_key(create)?;
            made.tokens.iter().for_each(|t| register(&t.token));
        }
        _ => {
            let delete = v1::DeleteKeyRequest {
                id: id.to_owned(),
                ..Default::default()
            };
            admin.delete_key(delete)?;
        }
    }
    Ok(())
}

/// The first page and the last of what a name finds.
fn search(admin: &Admin) {
    for order in ["create_time", "display_name"] {
        let (mut found, mut token, mut times) = (0, String::new(), Vec::new());
        loop {
            let began = Instant::now();
            let page = admin
                .list_keys(v1::ListKeysRequest {
                    workspace: "default".to_owned(),
                    filter: Some(v1::KeyFilter {
                        name_contains: "NEEDLE".to_owned(),
                        ..Default::default()
                    }),
                    order_by: order.to_owned(),
                    page_token: token,
                    ..Default::default()
                })
                .unwrap();
            times.push(began.elapsed());
            found += page.keys.len();
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(found, MANY as usize / 100);
        figure(&format!(
            "a name among {MANY} keys by {order}: first page {:?}, last {:?}",
            times.first().unwrap(),
            times.last().unwrap()
        ));
    }
}
