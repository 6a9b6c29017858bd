//! How many changes a second a database takes, by one writer and by many, and in bulk, next to bare inserts of the same database
//! in the same minute; and what `synchronous_commit` costs.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use claviger::grpc::proto::v1::key_admin_client::KeyAdminClient;
use claviger::grpc::proto::v1::{self, import_result::Outcome, secret_source::Source};
use sha2::Digest as _;

use super::{BOOTSTRAP_TOKEN, Stage, administrator};
use crate::harness::{Admin, Folder, Process, ROOT_KEY, SOAK, Writers, figure, key, psql, tool};

const WRITERS: [usize; 2] = [1, 64];
/// Changes that are counted, and those before them, by so many writers.
const CHANGES: usize = if SOAK { 3_000 } else { 20 };
const WARM: usize = CHANGES / 10;
/// Keys that are imported in bulk.
const KEYS: u64 = if SOAK { 20_000 } else { 200 };
/// Bare inserts of PostgreSQL, and how long those of SQLite are counted.
const INSERTS: usize = if SOAK { 20_000 } else { 128 };
const BARE: Duration = Duration::from_secs(if SOAK { 5 } else { 1 });
/// Room for all writers: at most half of it is one workspace's.
const PLACES: [&str; 2] = ["--max-concurrent-admin", "256"];

/// What a client sees: so many keys are made a second.
fn creates(admin: &Admin, writers: usize) -> f64 {
    let making = Writers::start(admin, writers);
    making.take(WARM.max(1));
    let begun = Instant::now();
    making.take(CHANGES);
    let took = begun.elapsed();
    making.stop();
    CHANGES as f64 / took.as_secs_f64()
}

/// Keys that are imported a second, in messages of a thousand.
fn imports(admin: &Admin) -> f64 {
    let item = |n: u64| {
        let digest = sha2::Sha256::digest(format!("a token made elsewhere, number {n}"));
        v1::ImportItem {
            import_id: format!("row-{n}"),
            key: Some(key(&format!("imported {n}"), &[])),
            primary: Some(v1::SecretSource {
                source: Some(Source::ExternalDigest(v1::ExternalDigest {
                    sha256_hex: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
                    asserted_entropy_bits: 128,
                    allow_weak: false,
                })),
            }),
            secondary: None,
        }
    };
    let items: Vec<_> = (0..KEYS).map(item).collect();
    let messages: Vec<_> = items
        .chunks(1_000)
        .map(|items| v1::ImportKeysRequest {
            workspace: "default".to_owned(),
            items: items.to_vec(),
            ..Default::default()
        })
        .collect();
    let begun = Instant::now();
    let request = admin.request(futures::stream::iter(messages));
    let made = admin.runtime.block_on(async {
        let mut client = KeyAdminClient::new(admin.channel());
        let mut answers = client.import_keys(request).await.unwrap().into_inner();
        let mut made = 0;
        while let Some(answer) = answers.message().await.unwrap() {
            let created = |r: &&v1::ImportResult| r.outcome() == Outcome::Created;
            made += answer.results.iter().filter(created).count() as u64;
        }
        made
    });
    assert_eq!(made, KEYS);
    KEYS as f64 / begun.elapsed().as_secs_f64()
}

/// Bare inserts of a row a second, each a transaction, by so many clients of a PostgreSQL.
fn bare(stage: &Stage, clients: usize) -> f64 {
    let script = stage.folder.path().join("bare.sql");
    std::fs::write(
        &script,
        "INSERT INTO bare (text) VALUES (repeat('x', 300));\n",
    )
    .unwrap();
    let create = "CREATE TABLE IF NOT EXISTS bare (n bigserial PRIMARY KEY, text text NOT NULL)";
    stage.database.sql(create);
    let output = Command::new("pgbench")
        .args(["-n", "-M", "prepared", "-c", &clients.to_string()])
        .args(["-t", &(INSERTS / clients).to_string(), "-j", "1", "-f"])
        .arg(&script)
        .arg(&stage.database.url)
        .output()
        .expect("PostgreSQL's `pgbench` is on the path");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}");
    let rate = said.lines().find_map(|line| {
        let rest = line.strip_prefix("tps = ")?;
        rest.split(' ').next()?.parse().ok()
    });
    rate.unwrap_or_else(|| panic!("no rate: {said}"))
}

/// The same of a SQLite file with the settings of Claviger's.
fn bare_sqlite(folder: &Path) -> f64 {
    let script = "import sqlite3, sys, time\n\
        c = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
        c.execute('PRAGMA journal_mode=WAL'); c.execute('PRAGMA synchronous=FULL')\n\
        c.execute('CREATE TABLE bare (n INTEGER PRIMARY KEY, text TEXT NOT NULL)')\n\
        begun, n = time.monotonic(), 0\n\
        while time.monotonic() - begun < float(sys.argv[2]):\n\
        \tc.execute('INSERT INTO bare (text) VALUES (?)', ('x' * 300,)); n += 1\n\
        print(n / (time.monotonic() - begun))\n";
    let output = Command::new(tool("python"))
        .args(["-c", script])
        .arg(folder.join("bare.db"))
        .arg(BARE.as_secs().to_string())
        .output()
        .unwrap();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complained}");
    String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .unwrap()
}

fn measured(what: &str, admin: &Admin, bare: &dyn Fn(usize) -> f64) {
    for writers in WRITERS {
        let inserts = bare(writers);
        let creates = creates(admin, writers);
        figure(&format!(
            "{what}: {creates:.0} keys made a second by {writers} writers, {:.2} of {inserts:.0} bare inserts",
            creates / inserts
        ));
    }
    let inserts = bare(1);
    let imported = imports(admin);
    figure(&format!(
        "{what}: {imported:.0} keys imported a second in bulk, {:.1} of {inserts:.0} bare inserts of one client",
        imported / inserts
    ));
}

#[test]
fn postgresql_takes_changes_of_one_and_many_writers_at_every_synchronous_commit_it_may_have() {
    let stage = Stage::set();
    let database = &stage.database.name;
    // Of one server without a standby the three differ in nothing but what they would wait for.
    for level in ["on", "remote_write", "local"] {
        let set = format!("ALTER DATABASE {database} SET synchronous_commit = {level}");
        stage.database.sql(&set);
        let environment = [
            ("CLAVIGER_DATABASE_URL", &*stage.database.url),
            ("CLAVIGER_ROOT_KEY", ROOT_KEY),
            ("CLAVIGER_BOOTSTRAP_TOKEN", BOOTSTRAP_TOKEN),
        ];
        let data = stage.data(level);
        let args = ["--data-dir", &data, PLACES[0], PLACES[1]];
        let process = crate::harness::Starting::begin(&stage.folder, &args, &environment).serving();
        let admin = administrator(&process);
        let what = format!("PostgreSQL, synchronous_commit {level}");
        if level == "on" {
            measured(&what, &admin, &|clients| bare(&stage, clients));
        } else {
            let inserts = bare(&stage, 1);
            let creates = creates(&admin, 1);
            figure(&format!(
                "{what}: {creates:.0} keys made a second by 1 writer, {:.2} of {inserts:.0} bare inserts",
                creates / inserts
            ));
        }
    }
    // What it would gain can be shown of bare inserts alone: no process starts on it.
    let set = format!("ALTER DATABASE {database} SET synchronous_commit = off");
    stage.database.sql(&set);
    assert_eq!(psql(&stage.database.url, "SHOW synchronous_commit"), "off");
    let refused = stage.fails(&[
        ("CLAVIGER_DATABASE_URL", &stage.database.url),
        ("CLAVIGER_ROOT_KEY", ROOT_KEY),
    ]);
    let complaint = refused.complaint();
    assert!(complaint.contains("synchronous_commit"), "{complaint}");
    figure(&format!(
        "PostgreSQL, synchronous_commit off: {:.0} bare inserts a second by 1 client; Claviger refuses to start on it",
        bare(&stage, 1)
    ));
}

#[test]
fn sqlite_takes_changes_of_one_and_many_writers() {
    let folder = Folder::new();
    let process = Process::start(&folder, &PLACES);
    let admin = process.admin();
    let bare_folder = tempfile::tempdir_in(folder.path()).unwrap();
    // It has one writer, however many ask.
    let inserts = bare_sqlite(bare_folder.path());
    measured("SQLite", &admin, &|_| inserts);
}
