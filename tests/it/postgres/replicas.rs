//! Replicas that revoke together: what is said to be in force everywhere is, whatever becomes of one of them.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use claviger::grpc::proto::v1::{self, Propagation, Reason, Wait, replica::State};
use tonic::{Code, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic_types::StatusExt as _;

use super::{BOOTSTRAP_TOKEN, Stage, administrator};
use crate::harness::{
    Admin, Fault, Made, PATIENCE, Process, ROOT_KEY, SOAK, Target, between_looks, check_of, figure,
    get, is_delay, key,
};

/// Keys that are disabled while all is well.
const DISABLED: usize = if SOAK { 1_000 } else { 30 };
/// As long as anybody can wait.
const LONG: Duration = Duration::from_secs(50);

/// A process of the fleet.
struct Replica {
    process: Process,
    admin: Admin,
}

impl Stage {
    fn replica(&self, name: &str, strict: bool) -> Replica {
        self.replica_at(name, strict, &self.database.url)
    }

    fn replica_at(&self, name: &str, strict: bool, url: &str) -> Replica {
        let environment = [
            ("CLAVIGER_DATABASE_URL", url),
            ("CLAVIGER_ROOT_KEY", ROOT_KEY),
            ("CLAVIGER_BOOTSTRAP_TOKEN", BOOTSTRAP_TOKEN),
            ("CLAVIGER_REPLICA_NAME", name),
            (
                "CLAVIGER_STRICT_REVOCATION",
                if strict { "true" } else { "false" },
            ),
        ];
        let process = self.starting_with(name, &environment).serving();
        let admin = administrator(&process);
        Replica { process, admin }
    }

    fn three(&self, strict: bool) -> [Replica; 3] {
        ["one", "two", "three"].map(|name| self.replica(name, strict))
    }
}

fn deadline(most: Duration) -> Option<prost_types::Duration> {
    Some(most.try_into().unwrap())
}

impl Replica {
    /// A key that every replica knows.
    fn make(&self, name: &str) -> Made {
        let made = again(|| {
            self.admin.create_key(v1::CreateKeyRequest {
                workspace: "default".to_owned(),
                key: Some(key(name, &[])),
                ..Default::default()
            })
        });
        let token = made.tokens[0].token.clone();
        crate::harness::register(&token);
        Made {
            id: made.key.unwrap().id,
            token,
        }
    }

    /// Disables a key, and waits for so long that it is everywhere; the revision, and how far it came.
    fn disable(&self, made: &Made, most: Duration) -> (String, Propagation) {
        disable(&self.admin, made, most)
    }

    fn wait_for(&self, revision: &str, most: Duration) -> Propagation {
        let answer = self.admin.wait_for_revision(v1::WaitForRevisionRequest {
            revision: revision.to_owned(),
            wait_deadline: deadline(most),
        });
        answer.unwrap().propagation.unwrap()
    }

    /// Everything so far is everywhere, on so many.
    fn assert_all_have(&self, revision: &str, total: i32) {
        let found = self.wait_for(revision, LONG);
        assert_complete(&found, total);
    }

    fn list(&self) -> Vec<v1::Replica> {
        let request = v1::ListReplicasRequest {};
        again(|| self.admin.list_replicas(request)).replicas
    }

    /// What the list has of the replica of this name.
    fn listed(&self, name: &str) -> v1::Replica {
        let mut found = self.list();
        found.retain(|replica| replica.name == name);
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    fn check(&self, made: &Made) -> Result<Reason, Status> {
        check(&self.admin, made)
    }

    fn refuses(&self, made: &Made) {
        assert_eq!(self.check(made).unwrap(), Reason::KeyDisabled);
    }

    /// What load balancers are told, in both ways.
    fn serves(&self) -> (bool, bool) {
        let mut health = HealthClient::new(self.admin.channel());
        let answer = self
            .admin
            .runtime
            .block_on(health.check(HealthCheckRequest::default()));
        let status = answer.unwrap().into_inner().status();
        let ready = get(&Target::Tcp(self.process.http), "/readyz", &[]).status;
        (status == ServingStatus::Serving, ready == 200)
    }

    /// A metric of this process.
    fn metric(&self, name: &str) -> f64 {
        let scraped = get(&Target::Tcp(self.process.http), "/metrics", &[]).text();
        let line = scraped.lines().find_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix(' ')?;
            Some(value.parse().unwrap())
        });
        line.unwrap_or_else(|| panic!("no `{name}` in {scraped}"))
    }

    /// Waits until load balancers are told so in both ways.
    fn comes_to(&self, serves: bool) {
        until("health changes", || self.serves() == (serves, serves));
    }
}

fn disable(admin: &Admin, made: &Made, most: Duration) -> (String, Propagation) {
    let answer = again(|| {
        admin.update_key(v1::UpdateKeyRequest {
            key: Some(v1::Key {
                id: made.id.clone(),
                enabled: Some(false),
                ..Default::default()
            }),
            wait: Wait::AllReplicas.into(),
            wait_deadline: deadline(most),
            ..Default::default()
        })
    });
    (answer.revision, answer.propagation.expect("it waited"))
}

fn check(admin: &Admin, made: &Made) -> Result<Reason, Status> {
    let answer = admin.check(check_of("default", &made.token));
    answer.map(|answer| answer.reason())
}

/// Asks without a pause until the key is refused; when that was.
fn refused_at(admin: &Admin, made: &Made) -> Instant {
    let begun = Instant::now();
    while check(admin, made).unwrap() != Reason::KeyDisabled {
        assert!(begun.elapsed() < PATIENCE, "it is never refused");
    }
    Instant::now()
}

/// Calls again where a busy machine let the database miss its limits.
fn again<T>(call: impl Fn() -> Result<T, Status>) -> T {
    let begun = Instant::now();
    loop {
        match call() {
            Ok(answer) => return answer,
            Err(status) if comes_again(&status) && begun.elapsed() < PATIENCE => {}
            Err(status) => panic!("{status:?}"),
        }
    }
}

/// What may be asked again is made once or twice, to the same effect.
fn comes_again(status: &Status) -> bool {
    is_delay(status) || reason_of(status) == "OUTCOME_UNKNOWN"
}

fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: it does not come");
        between_looks();
    }
}

fn assert_complete(found: &Propagation, total: i32) {
    assert!(found.complete, "{found:?}");
    assert_eq!((found.total, found.applied), (total, total));
    assert!(found.unconfirmed.is_empty(), "{found:?}");
}

/// Waits until this one alone is missing: others may be starved for a while. It is never complete before.
fn only_missing(asking: &Replica, revision: &str, total: i32, missing: &v1::Replica) {
    until("all but one have it", || {
        let found = asking.wait_for(revision, Duration::from_millis(100));
        assert!(!found.complete && found.total == total, "{found:?}");
        assert!(found.unconfirmed.iter().any(|u| u.replica == missing.id));
        let [left] = &found.unconfirmed[..] else {
            return false;
        };
        assert_eq!(left.name, missing.name);
        assert!(crate::harness::revision(&left.last_revision) < crate::harness::revision(revision));
        assert!(left.last_seen.is_some());
        true
    });
}

fn reason_of(status: &Status) -> String {
    let info = status.get_details_error_info();
    info.map(|info| info.reason).unwrap_or_default()
}

fn not_in_fleet(answer: Result<Reason, Status>) -> bool {
    answer.is_err_and(|status| {
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        reason_of(&status) == "NOT_IN_FLEET"
    })
}

/// The median, the 99th percentile and the greatest of some times.
fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |percent: usize| times[(times.len() * percent).div_ceil(100) - 1];
    format!(
        "{:.0?} in the median, {:.0?} at p99, {:.0?} at most (of {})",
        at(50),
        at(99),
        at(100),
        times.len()
    )
}

#[test]
fn a_key_disabled_on_all_replicas_is_refused_by_each_as_soon_as_that_is_answered() {
    let stage = Stage::set();
    let three = stage.three(false);
    let mut took = Vec::new();
    for n in 0..DISABLED {
        // Each of them in turn makes the change.
        let one = &three[n % 3];
        let made = one.make(&format!("key {n}"));
        one.assert_all_have("", 3);
        for replica in &three {
            assert_eq!(replica.check(&made).unwrap(), Reason::Ok);
        }
        let (revision, found) = one.disable(&made, LONG);
        assert_complete(&found, 3);
        for replica in &three {
            replica.refuses(&made);
        }
        took.push(found.elapsed.unwrap().try_into().unwrap());
        // Who asks another one hears the same.
        three[(n + 1) % 3].assert_all_have(&revision, 3);
    }
    figure(&format!(
        "PostgreSQL, three processes: a change is known to be in force on all of them after {}",
        spread(took)
    ));
}

#[test]
fn who_does_not_wait_is_followed_by_the_others_all_the_same() {
    let stage = Stage::set();
    let three = stage.three(false);
    let [one, others @ ..] = &three;
    let mut lags = Vec::new();
    for n in 0..DISABLED {
        let made = one.make(&format!("key {n}"));
        one.assert_all_have("", 3);
        let refused = thread::scope(|scope| {
            let watch = others.each_ref().map(|other| {
                let (admin, made) = (other.admin.clone(), &made);
                scope.spawn(move || refused_at(&admin, made))
            });
            one.admin.enable(&made.id, false).unwrap();
            let answered = Instant::now();
            watch.map(|at| at.join().unwrap().saturating_duration_since(answered))
        });
        lags.extend(refused);
    }
    figure(&format!(
        "PostgreSQL, three processes: a key disabled on one is refused on the others, after that is answered, after {}",
        spread(lags)
    ));
}

#[test]
fn a_frozen_replica_is_named_and_has_the_change_when_it_goes_on() {
    let stage = Stage::set();
    let [one, two, mut three] = stage.three(false);
    let made = one.make("a key");
    one.assert_all_have("", 3);
    let missing = one.listed("three");
    three.process.child.signal("STOP");
    let (revision, found) = one.disable(&made, Duration::from_millis(100));
    assert!(!found.complete && found.total == 3, "{found:?}");
    only_missing(&one, &revision, 3, &missing);
    two.refuses(&made);

    // It is never dropped: it would go on with what it knows.
    until("its lease is over", || {
        one.listed("three").state() == State::Silent
    });
    assert!(one.listed("three").counts);
    only_missing(&two, &revision, 3, &missing);

    three.process.child.signal("CONT");
    one.assert_all_have(&revision, 3);
    three.refuses(&made);
    assert_eq!(one.listed("three").state(), State::Serving);
}

#[test]
fn a_killed_replica_is_missed_until_it_is_back_in_its_place_or_was_forgotten() {
    let stage = Stage::set();
    let [one, two, mut three] = stage.three(false);
    let (first, second) = (one.make("first"), one.make("second"));
    one.assert_all_have("", 3);
    let place = one.listed("three");
    three.process.kill();
    let (revision, _) = one.disable(&first, Duration::from_millis(100));
    only_missing(&one, &revision, 3, &place);

    let mut three = stage.replica("three", false);
    one.assert_all_have(&revision, 3);
    three.refuses(&first);
    assert_eq!(one.listed("three").id, place.id);

    three.process.kill();
    let (revision, _) = one.disable(&second, Duration::from_millis(100));
    let forget = |id: &str| v1::ForgetReplicaRequest { id: id.to_owned() };
    until("it can be forgotten", || {
        match one.admin.forget_replica(forget(&place.id)) {
            Ok(_) => true,
            Err(status) if is_delay(&status) => false,
            // Its lease may hold for a while, and it is missed for as long.
            Err(status) => {
                assert_eq!(reason_of(&status), "REPLICA_ALIVE");
                only_missing(&two, &revision, 3, &place);
                false
            }
        }
    });
    one.assert_all_have(&revision, 2);
    let gone = one.admin.forget_replica(forget(&place.id)).unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);

    let three = stage.replica("three", false);
    three.refuses(&second);
    two.assert_all_have(&revision, 3);
}

#[test]
fn who_stops_in_order_is_waited_for_no_more() {
    let stage = Stage::set();
    let [one, mut two, mut three] = stage.three(false);
    let made = one.make("a key");
    one.assert_all_have("", 3);
    assert!(three.process.stop().success());
    assert_eq!(one.list().len(), 2);
    let (revision, found) = one.disable(&made, LONG);
    assert_complete(&found, 2);
    assert!(two.process.stop().success());
    one.assert_all_have(&revision, 1);
}

#[test]
fn a_strict_replica_that_is_frozen_is_given_up_and_allows_nothing_that_was_revoked_meanwhile() {
    let stage = Stage::set();
    let [one, two, mut three] = stage.three(true);
    let made = one.make("a key");
    one.assert_all_have("", 3);
    three.process.child.signal("STOP");
    // It comes to an end by itself: as soon as the lease is surely over.
    let (revision, found) = one.disable(&made, LONG);
    assert_complete(&found, 2);
    two.refuses(&made);
    assert!(!one.listed("three").counts);

    // A question that waits for it while it is frozen is the first thing it sees.
    let mut turned_away = 0;
    thread::scope(|scope| {
        let (admin, made) = (three.admin.clone(), &made);
        let first = scope.spawn(move || check(&admin, made));
        three.process.child.signal("CONT");
        let mut answer = first.join().unwrap();
        until("it decides again", || {
            let answer = std::mem::replace(&mut answer, three.check(made));
            match answer {
                Ok(reason) => assert_eq!(reason, Reason::KeyDisabled, "it was revoked before"),
                Err(_) => {
                    assert!(not_in_fleet(answer));
                    turned_away += 1;
                    return false;
                }
            }
            true
        });
    });
    one.assert_all_have(&revision, 3);
    three.comes_to(true);
    figure(&format!(
        "PostgreSQL, a strict process frozen beyond its lease: {turned_away} questions turned away before it had caught up, 0 wrong answers"
    ));
}

#[test]
fn a_strict_replica_cut_off_from_the_database_turns_everybody_away_until_it_is_back() {
    let stage = Stage::set();
    let proxy = stage.postgres.proxy();
    let one = stage.replica("one", true);
    let cut_off = stage.replica_at("cut off", true, &stage.database.url_by(&proxy));
    let made = one.make("a key");
    one.assert_all_have("", 2);
    for fault in [Fault::Freeze, Fault::Refuse] {
        again(|| one.admin.enable(&made.id, true));
        one.assert_all_have("", 2);
        cut_off.comes_to(true);
        assert_eq!(cut_off.check(&made).unwrap(), Reason::Ok);
        proxy.set(fault);
        let (revision, found) = one.disable(&made, LONG);
        assert_complete(&found, 1);
        // From this answer on.
        assert!(not_in_fleet(cut_off.check(&made)), "{fault:?}");
        let administers = cut_off.admin.list_keys(v1::ListKeysRequest::default());
        assert_eq!(reason_of(&administers.unwrap_err()), "NOT_IN_FLEET");
        cut_off.comes_to(false);
        one.comes_to(true);
        assert_eq!(
            cut_off.metric("claviger_in_fleet").to_bits(),
            0_f64.to_bits()
        );

        proxy.set(Fault::None);
        cut_off.comes_to(true);
        cut_off.refuses(&made);
        one.assert_all_have(&revision, 2);
    }
}

#[test]
fn a_replica_cut_off_from_the_database_goes_on_deciding_and_is_missed() {
    let stage = Stage::set();
    let proxy = stage.postgres.proxy();
    let one = stage.replica("one", false);
    let cut_off = stage.replica_at("cut off", false, &stage.database.url_by(&proxy));
    let place = one.listed("cut off");
    for fault in [Fault::Freeze, Fault::Mute, Fault::Refuse] {
        let (made, kept) = (one.make("revoked"), one.make("kept"));
        one.assert_all_have("", 2);
        proxy.set(fault);
        let (revision, found) = one.disable(&made, Duration::from_millis(100));
        assert!(!found.complete, "{found:?}");
        only_missing(&one, &revision, 2, &place);
        // It knows no better, and is there for everybody else.
        assert_eq!(cut_off.check(&made).unwrap(), Reason::Ok);
        assert_eq!(cut_off.check(&kept).unwrap(), Reason::Ok);
        assert_eq!(cut_off.serves(), (true, true));
        // Nor does it say of anything that it is everywhere.
        let found = cut_off.wait_for("", Duration::from_millis(100));
        assert!(!found.complete, "{found:?}");

        proxy.set(Fault::None);
        one.assert_all_have(&revision, 2);
        cut_off.refuses(&made);
    }
}

#[test]
fn a_scrape_tells_how_far_behind_a_replica_is_and_needs_no_database_for_it() {
    const LAGS: &str = "claviger_revocation_lag_seconds";
    let stage = Stage::set();
    let proxy = stage.postgres.proxy();
    let one = stage.replica("one", false);
    let other = stage.replica_at("other", false, &stage.database.url_by(&proxy));
    for n in 0..3 {
        one.make(&format!("key {n}"));
        one.assert_all_have("", 2);
    }
    let count = other.metric(&format!("{LAGS}_count"));
    assert!(count >= 3.0, "{count}");
    assert!(other.metric(&format!("{LAGS}_sum")) > 0.0);
    for name in ["bucket{le=\"+Inf\"}", "bucket{le=\"10.0\"}"] {
        let all = other.metric(&format!("{LAGS}_{name}"));
        assert!(all <= other.metric(&format!("{LAGS}_count")), "{name}");
    }
    assert!(other.metric(&format!("{LAGS}_bucket{{le=\"0.005\"}}")) <= count);
    assert!(other.metric("claviger_in_fleet") > 0.0);

    proxy.set(Fault::Freeze);
    let before = other.metric("claviger_feed_staleness_seconds");
    until("it grows stale", || {
        other.metric("claviger_feed_staleness_seconds") > before + 1.0
    });
    assert!(other.metric("claviger_in_fleet") > 0.0);
    proxy.set(Fault::None);
    until("it is fresh again", || {
        other.metric("claviger_feed_staleness_seconds") < before + 1.0
    });
}

#[test]
fn a_process_with_a_copy_of_a_data_directory_is_counted_apart_from_the_one_it_was_copied_from() {
    let stage = Stage::set();
    let (one, original) = (
        stage.replica("one", false),
        stage.replica("original", false),
    );
    let made = one.make("a key");
    one.assert_all_have("", 2);
    let place = original.listed("original").id;
    let copied = PathBuf::from(stage.data("copy"));
    fs::create_dir(&copied).unwrap();
    let id = PathBuf::from(stage.data("original")).join("replica-id");
    fs::copy(&id, copied.join("replica-id")).unwrap();

    let copy = stage.replica("copy", false);
    until("the other one takes a place of its own", || {
        one.list().len() == 3
    });
    let (revision, found) = one.disable(&made, LONG);
    assert_complete(&found, 3);
    for replica in [&one, &original, &copy] {
        replica.refuses(&made);
    }
    assert_eq!(copy.listed("copy").id, place);
    let moved = original.listed("original").id;
    assert_ne!(moved, place);
    assert_eq!(fs::read_to_string(&id).unwrap().trim(), moved);

    // Each is found in its own place after a restart.
    let mut original = original;
    original.process.kill();
    let original = stage.replica("original", false);
    one.assert_all_have(&revision, 3);
    assert_eq!(original.listed("original").id, moved);
}

#[test]
fn a_stop_does_not_wait_for_who_waits_for_others() {
    let stage = Stage::set();
    let [mut one, two, mut three] = stage.three(false);
    let made = one.make("a key");
    one.assert_all_have("", 3);
    let missing = one.listed("three");
    three.process.child.signal("STOP");
    let (admin, waiting) = (one.admin.clone(), &made);
    let found = thread::scope(|scope| {
        let found = scope.spawn(move || disable(&admin, waiting, LONG).1);
        until("the change is made", || {
            two.check(&made).unwrap() == Reason::KeyDisabled
        });
        assert!(one.process.stop().success());
        found.join().unwrap()
    });
    assert!(!found.complete, "{found:?}");
    assert!(found.unconfirmed.iter().any(|u| u.replica == missing.id));
    let elapsed: Duration = found.elapsed.unwrap().try_into().unwrap();
    assert!(elapsed < LONG, "it waited to the end");
    three.process.child.signal("CONT");
}

#[test]
fn many_changes_that_wait_at_once_are_all_known_to_be_everywhere() {
    const AT_ONCE: usize = 24;
    let stage = Stage::set();
    let three = stage.three(false);
    let one = &three[0];
    let made: Vec<Made> = (0..AT_ONCE)
        .map(|n| one.make(&format!("key {n}")))
        .collect();
    one.assert_all_have("", 3);
    let took = thread::scope(|scope| {
        let disabled: Vec<_> = made
            .iter()
            .map(|made| {
                let admin = one.admin.clone();
                scope.spawn(move || disable(&admin, made, LONG).1)
            })
            .collect();
        let found = disabled.into_iter().map(|found| found.join().unwrap());
        let took = found.map(|found| {
            assert_complete(&found, 3);
            found.elapsed.unwrap().try_into().unwrap()
        });
        took.collect()
    });
    for made in &made {
        three.iter().for_each(|replica| replica.refuses(made));
    }
    figure(&format!(
        "PostgreSQL, three processes, {AT_ONCE} changes at once: each is known to be in force on all of them after {}",
        spread(took)
    ));
}
