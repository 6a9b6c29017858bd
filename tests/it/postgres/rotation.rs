//! Another root key for a fleet: the tool while both serve, or one process after the other with both keys at hand.

use claviger::grpc::proto::v1::Reason;

use super::{BOOTSTRAP_TOKEN, Stage, administrator};
use crate::harness::{ROOT_KEY, key, offline, register};

const NEW: &str = "5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e";

#[test]
fn two_processes_roll_to_a_new_root_key_one_after_the_other_and_the_old_one_is_refused_then() {
    register(NEW);
    let stage = Stage::set();
    let url = stage.database.url.as_str();
    let old = [
        ("CLAVIGER_DATABASE_URL", url),
        ("CLAVIGER_ROOT_KEY", ROOT_KEY),
        ("CLAVIGER_BOOTSTRAP_TOKEN", BOOTSTRAP_TOKEN),
    ];
    let rolling = [
        ("CLAVIGER_DATABASE_URL", url),
        ("CLAVIGER_ROOT_KEY", NEW),
        ("CLAVIGER_ROOT_KEY_PREVIOUS", ROOT_KEY),
        ("CLAVIGER_BOOTSTRAP_TOKEN", BOOTSTRAP_TOKEN),
    ];
    let mut one = stage.starting_with("one", &old).serving();
    let mut other = stage.starting_with("other", &old).serving();
    let made = administrator(&one).make("default", key("before", &[]));
    for (process, name) in [(&mut one, "one"), (&mut other, "other")] {
        assert!(process.stop().success());
        *process = stage.starting_with(name, &rolling).serving();
    }
    for process in [&one, &other] {
        let admin = administrator(process);
        assert_eq!(admin.decide("default", &made.token).reason(), Reason::Ok);
        admin.make("default", key("after", &[]));
    }
    let line = stage.fails(&old).complaint();
    assert!(line.contains("root key does not open"), "{line}");
    let alone = [old[0], ("CLAVIGER_ROOT_KEY", NEW), old[2]];
    let last = stage.starting_with("last", &alone).serving();
    let decision = administrator(&last).decide("default", &made.token);
    assert_eq!(decision.reason(), Reason::Ok);
}

#[test]
fn the_tool_wraps_anew_while_two_processes_serve_and_both_go_on() {
    register(NEW);
    let stage = Stage::set();
    let (one, other) = (stage.process("one"), stage.process("other"));
    let made = administrator(&one).make("default", key("before", &[]));
    let url = ("CLAVIGER_DATABASE_URL", stage.database.url.as_str());
    let tool = |environment: &[(&str, &str)]| {
        let data = stage.data("tool");
        let args = ["--data-dir", data.as_str(), "--log", "off"];
        let ended = offline("rotate-root-key", &args, environment);
        (ended.0, format!("{}{}", ended.1, ended.2))
    };
    // Without the one before, or with a wrong one, nothing is changed.
    let wrong = "77".repeat(32);
    for environment in [
        &[url, ("CLAVIGER_ROOT_KEY", NEW)][..],
        &[
            url,
            ("CLAVIGER_ROOT_KEY", NEW),
            ("CLAVIGER_ROOT_KEY_PREVIOUS", &wrong),
        ],
    ] {
        let (good, said) = tool(environment);
        assert!(!good && said.contains("root key does not open"), "{said}");
    }
    let both = [
        url,
        ("CLAVIGER_ROOT_KEY", NEW),
        ("CLAVIGER_ROOT_KEY_PREVIOUS", ROOT_KEY),
    ];
    let (good, said) = tool(&both);
    assert!(
        good && said.contains("wrapped with the new root key"),
        "{said}"
    );
    let (good, said) = tool(&both);
    assert!(good && said.contains("nothing was changed"), "{said}");
    for process in [&one, &other] {
        let admin = administrator(process);
        assert_eq!(admin.decide("default", &made.token).reason(), Reason::Ok);
        admin.make("default", key("after", &[]));
    }
    drop((one, other));
    let line = stage
        .fails(&[url, ("CLAVIGER_ROOT_KEY", ROOT_KEY)])
        .complaint();
    assert!(line.contains("root key does not open"), "{line}");
    let environment = [
        url,
        ("CLAVIGER_ROOT_KEY", NEW),
        ("CLAVIGER_BOOTSTRAP_TOKEN", BOOTSTRAP_TOKEN),
    ];
    let after = stage.starting_with("after", &environment).serving();
    let decision = administrator(&after).decide("default", &made.token);
    assert_eq!(decision.reason(), Reason::Ok);
}
