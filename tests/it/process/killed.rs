//! `kill -9` while keys are being made: what was acknowledged is there.

use std::collections::HashSet;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};

use claviger::grpc::proto::v1::key_admin_client::KeyAdminClient;
use claviger::grpc::proto::v1::{self, Decision};
use tokio::task::JoinSet;

use crate::harness::{Admin, Folder, PATIENCE, Process, SOAK, figure, key, register, tool};

/// How often the process is killed; more with `make soak`.
const ROUNDS: usize = if SOAK { 200 } else { 20 };
const CREATES_A_ROUND: usize = 50;
const CALLERS: usize = 8;

#[test]
fn every_acknowledged_key_survives_kill_9_in_the_middle_of_a_thousand_creates() {
    let folder = Folder::new();
    let mut acknowledged: Vec<(String, String)> = Vec::new();
    for round in 0..ROUNDS {
        let mut process = Process::start(&folder, &[]);
        let admin = process.admin();
        assert_all_allowed(&admin, &acknowledged);

        let (tell, told) = channel();
        let mut callers = start_callers(&admin, &tell);
        drop(tell);
        for _ in 0..CREATES_A_ROUND {
            acknowledged.push(told.recv_timeout(PATIENCE).unwrap());
        }
        // Calls are under way at this moment: some committed and not answered, some not begun.
        process.kill();
        acknowledged.extend(rest(&admin, &mut callers, &told));
        assert!(acknowledged.len() >= (round + 1) * CREATES_A_ROUND);
    }

    let mut process = Process::start(&folder, &[]);
    let admin = process.admin();
    assert_all_allowed(&admin, &acknowledged);
    let stored = all_ids(&admin);
    assert!(acknowledged.iter().all(|(id, _)| stored.contains(id)));
    // What was not acknowledged is there or not; but there can't be more of it than calls under way at the kills.
    assert!(stored.len() <= acknowledged.len() + ROUNDS * CALLERS);

    assert!(process.stop().success());
    assert_eq!(integrity(&folder), "ok");
    figure(&format!(
        "`kill -9` during writes: {ROUNDS} times, {} creates acknowledged, 0 of them lost, integrity check ok",
        acknowledged.len()
    ));
}

/// Callers that make key after key until the connection is gone.
fn start_callers(admin: &Admin, tell: &Sender<(String, String)>) -> JoinSet<()> {
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (admin, tell) = (admin.clone(), tell.clone());
        let runtime = admin.runtime.handle().clone();
        callers.spawn_on(
            async move {
                let mut client = KeyAdminClient::new(admin.channel());
                for n in 0.. {
                    let request = admin.request(v1::CreateKeyRequest {
                        workspace: "default".to_owned(),
                        key: Some(key(&format!("key {n} of caller {caller}"), &[])),
                        ..Default::default()
                    });
                    let Ok(answer) = client.create_key(request).await else {
                        return;
                    };
                    let answer = answer.into_inner();
                    register(&answer.tokens[0].token);
                    let made = (answer.key.unwrap().id, answer.tokens[0].token.clone());
                    let _ = tell.send(made);
                }
            },
            &runtime,
        );
    }
    callers
}

/// What was still acknowledged before the connection broke.
fn rest(
    admin: &Admin,
    callers: &mut JoinSet<()>,
    told: &Receiver<(String, String)>,
) -> Vec<(String, String)> {
    admin.runtime.block_on(async {
        while let Some(ended) = callers.join_next().await {
            ended.unwrap();
        }
    });
    told.try_iter().collect()
}

fn assert_all_allowed(admin: &Admin, keys: &[(String, String)]) {
    let tokens: Vec<String> = keys.iter().map(|(_, token)| token.clone()).collect();
    let decisions = admin.decide_all("default", &tokens);
    for ((id, _), decision) in keys.iter().zip(decisions) {
        assert_eq!(decision.decision(), Decision::Allow, "{id}");
        assert_eq!(decision.key_id, *id);
    }
}

fn all_ids(admin: &Admin) -> HashSet<String> {
    let mut ids = HashSet::new();
    let mut page_token = String::new();
    loop {
        let page = admin
            .list_keys(v1::ListKeysRequest {
                workspace: "default".to_owned(),
                page_size: 1000,
                page_token,
                ..Default::default()
            })
            .unwrap();
        ids.extend(page.keys.into_iter().map(|k| k.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return ids;
        }
    }
}

fn integrity(folder: &Folder) -> String {
    let script = "import sqlite3, sys\n\
                  print(sqlite3.connect(sys.argv[1]).execute('PRAGMA integrity_check').fetchone()[0])";
    let output = Command::new(tool("python"))
        .args(["-c", script])
        .arg(folder.database())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
