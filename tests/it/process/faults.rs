//! The database can't be written to while the process runs: decisions go on, mutations say so and are not half done, and
//! all is well again by itself.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use claviger::grpc::proto::v1::{self, Decision};
use tonic::Code;

use crate::harness::{
    Admin, BINARY, Child, Folder, Made, Process, bootstrap_token, is_root, key, may_unshare,
    not_checked, scan, serve_args, tool,
};

/// The keys of a test: one that nobody touches, one that callers try to disable, and one they try to enable.
struct Keys {
    bystander: Made,
    live: Made,
    disabled: Made,
}

impl Keys {
    fn make(admin: &Admin) -> Self {
        let make = |name: &str| admin.make("default", key(name, &[]));
        let this = Self {
            bystander: make("bystander"),
            live: make("live"),
            disabled: make("disabled"),
        };
        admin.enable(&this.disabled.id, false).unwrap();
        this
    }
}

/// What is to be seen while nothing can be written.
fn assert_read_only(admin: &Admin, keys: &Keys) {
    let status = |result: Result<_, tonic::Status>| match result {
        Ok(()) => panic!("a change was made"),
        Err(status) => status.code(),
    };
    for _ in 0..2 {
        let create = admin.create_key(v1::CreateKeyRequest {
            workspace: "default".to_owned(),
            key: Some(key("must not be", &[])),
            ..Default::default()
        });
        assert_eq!(status(create.map(drop)), Code::Unavailable);
        // Where it is not known whether a change that takes access away was made, the key is refused until it is: of this
        // one nothing is claimed here.
        let disable = admin.enable(&keys.live.id, false);
        assert_eq!(status(disable.map(drop)), Code::Unavailable);
        let enable = admin.enable(&keys.disabled.id, true);
        assert_eq!(status(enable.map(drop)), Code::Unavailable);

        let decision = admin.decide("default", &keys.bystander.token);
        assert_eq!(decision.decision(), Decision::Allow);
        let decision = admin.decide("default", &keys.disabled.token);
        assert_eq!(decision.reason(), v1::Reason::KeyDisabled);
    }
}

/// What is to be seen when it can be written to again: changes work, and nothing of the failed ones is there.
fn assert_recovered(admin: &Admin, keys: &Keys) {
    admin.make("default", key("after", &[]));
    for (made, reason) in [
        (&keys.bystander, v1::Reason::Ok),
        (&keys.live, v1::Reason::Ok),
        (&keys.disabled, v1::Reason::KeyDisabled),
    ] {
        assert_eq!(admin.decide("default", &made.token).reason(), reason);
    }
    admin.enable(&keys.live.id, false).unwrap();
    let decision = admin.decide("default", &keys.live.token);
    assert_eq!(decision.reason(), v1::Reason::KeyDisabled);
    let mut names = names(admin);
    names.retain(|name| name != "filler");
    names.sort();
    assert_eq!(names, ["after", "bystander", "disabled", "live"]);
}

fn names(admin: &Admin) -> Vec<String> {
    let page = admin
        .list_keys(v1::ListKeysRequest {
            workspace: "default".to_owned(),
            page_size: 1000,
            ..Default::default()
        })
        .unwrap();
    assert_eq!(page.next_page_token, "");
    page.keys.into_iter().map(|k| k.display_name).collect()
}

#[test]
fn when_the_database_files_can_not_be_written_decisions_go_on_and_mutations_say_unavailable() {
    let folder = Folder::new();
    let process = Process::start(&folder, &[]);
    let admin = process.admin();
    let keys = Keys::make(&admin);
    let Some(frozen) = Frozen::freeze(&folder) else {
        not_checked(
            "losing write access while running: needs root and a file system with `chattr`",
        );
        return;
    };
    assert_read_only(&admin, &keys);
    drop(frozen);
    assert_recovered(&admin, &keys);
}

/// Database files that refuse every write, even of root, even through a descriptor that is open.
struct Frozen(Vec<PathBuf>);

impl Frozen {
    fn freeze(folder: &Folder) -> Option<Self> {
        if !is_root() {
            return None;
        }
        let this = Self(
            std::fs::read_dir(folder.data())
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|p| p.extension().is_some_and(|e| e == "db" || e == "db-wal"))
                .collect(),
        );
        assert!(!this.0.is_empty());
        this.chattr("+i").then_some(this)
    }

    fn chattr(&self, how: &str) -> bool {
        let status = Command::new("chattr").arg(how).args(&self.0).status();
        status.is_ok_and(|s| s.success())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.chattr("-i");
    }
}

#[test]
fn when_somebody_else_holds_the_write_lock_decisions_go_on_and_mutations_say_unavailable() {
    let folder = Folder::new();
    let process = Process::start(&folder, &[]);
    let admin = process.admin();
    let keys = Keys::make(&admin);

    let script = "import sqlite3, sys, threading\n\
                  db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                  db.execute('BEGIN IMMEDIATE')\n\
                  print('held', flush=True)\n\
                  threading.Event().wait()";
    let mut command = Command::new(tool("python"));
    command.args(["-c", script]).arg(folder.database());
    let (holder, mut said, _) = Child::start(
        &mut command,
        &folder.output("holder-out"),
        &folder.output("holder-err"),
    );
    said.wait("the lock", |line| (line == "held").then_some(()));
    assert_read_only(&admin, &keys);
    drop(holder);
    assert_recovered(&admin, &keys);
}

#[test]
fn when_the_disk_is_full_decisions_go_on_and_mutations_say_unavailable() {
    let folder = Folder::new();
    let data = folder.data();
    std::fs::create_dir(&data).unwrap();
    if !may_unshare(&["--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]) {
        not_checked("a full disk: only root can mount a small one");
        return;
    }
    // A mount that this process alone sees, so that none is left behind however the test ends.
    let script = format!(
        "mount -t tmpfs -o size=8m tmpfs '{}' && exec \"$@\"",
        data.display()
    );
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", &script, "sh", BINARY])
        .args(serve_args(&data));
    let process = Process::start_as(&folder, command);
    let relative = data.strip_prefix("/").unwrap();
    let inside = PathBuf::from(format!("/proc/{}/root", process.child.pid())).join(relative);
    let admin = Admin::connect(process.grpc(), Some(bootstrap_token(&inside)));
    let keys = Keys::make(&admin);

    let filler = inside.join("filler");
    let mut file = File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    // The write-ahead log may have room left that it has claimed before.
    let mut made = 0;
    loop {
        let create = admin.create_key(v1::CreateKeyRequest {
            workspace: "default".to_owned(),
            key: Some(key("filler", &[])),
            ..Default::default()
        });
        match create {
            Ok(_) => made += 1,
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                break;
            }
        }
        assert!(made < 900, "the disk is never full");
    }
    assert_read_only(&admin, &keys);
    std::fs::remove_file(&filler).unwrap();
    drop(file);
    assert_recovered(&admin, &keys);
    let fillers = names(&admin).into_iter().filter(|n| n == "filler").count();
    assert_eq!(fillers, made);
    assert_eq!(scan(&inside), Vec::<String>::new());
}
