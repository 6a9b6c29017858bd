//! Two processes on one database deliver what either has accepted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use claviger::grpc::proto::v1;

use super::{BOOTSTRAP_TOKEN, Stage, administrator};
use crate::harness::{
    Admin, Answer, Arrived, PATIENCE, Process, ROOT_KEY, Receiver, authority, between_looks,
    figure, is_delay, key, register, sooner_or_later,
};

const KEYS: usize = 8;
/// Events that each process accepts in a round.
const EVENTS: usize = 40;
/// How long what one process has taken is its own.
const LEASE: Duration = Duration::from_secs(60);

/// A replica that may deliver to a receiver of this machine.
pub(super) fn start(stage: &Stage, name: &str) -> Process {
    let ca = authority().certificate.to_str().unwrap();
    let environment = [
        ("CLAVIGER_DATABASE_URL", &*stage.database.url),
        ("CLAVIGER_ROOT_KEY", ROOT_KEY),
        ("CLAVIGER_BOOTSTRAP_TOKEN", BOOTSTRAP_TOKEN),
        ("CLAVIGER_POSTBACK_ALLOW", "127.0.0.0/8"),
        ("CLAVIGER_POSTBACK_CA_FILE", ca),
        ("CLAVIGER_REPLICA_NAME", name),
    ];
    stage.starting_with(name, &environment).serving()
}

/// Keys with a receiver, what was accepted for them, and what came.
pub(super) struct Told {
    keys: Vec<String>,
    pub(super) receiver: Receiver,
    pub(super) accepted: BTreeSet<String>,
    pub(super) arrived: Vec<Arrived>,
}

impl Told {
    pub(super) fn set(admin: &Admin) -> Self {
        let secret = v1::CreateSigningSecretRequest::default();
        register(&admin.create_signing_secret(secret).unwrap().text);
        let receiver = Receiver::start();
        let made = |n: usize| {
            let told = v1::Key {
                postback_url: receiver.url(),
                ..key(&format!("key {n}"), &[])
            };
            admin.make("default", told).id
        };
        Self {
            keys: (0..KEYS).map(made).collect(),
            receiver,
            accepted: BTreeSet::new(),
            arrived: Vec::new(),
        }
    }

    /// Has a process accept events of these numbers, by turns for each key.
    pub(super) fn publish(&mut self, admin: &Admin, numbers: impl Iterator<Item = usize>) {
        for n in numbers {
            let request = || v1::PublishEventRequest {
                key_id: self.keys[n % KEYS].clone(),
                event_id: n.to_string(),
                r#type: "message.delivered".to_owned(),
                data_json: "{}".to_owned(),
            };
            let answer = loop {
                match admin.publish_event(request()) {
                    Ok(answer) => break answer,
                    Err(status) => assert!(is_delay(&status), "{status:?}"),
                }
            };
            self.accepted.insert(answer.delivery.unwrap().id);
        }
    }

    /// Waits until all that was accepted has arrived.
    pub(super) fn wait_for_all(&mut self, admin: &Admin) {
        let ids = |arrived: &[Arrived]| -> BTreeSet<String> {
            arrived.iter().map(|a| a.id.clone()).collect()
        };
        while !self.accepted.is_subset(&ids(&self.arrived)) {
            let next = admin.runtime.block_on(self.receiver.next());
            self.arrived.push(next);
        }
    }

    /// The numbers of each key's events are those from 1 on, each of one event.
    pub(super) fn assert_numbered(&self) {
        let mut numbers: BTreeMap<String, BTreeMap<u64, &str>> = BTreeMap::new();
        for arrived in &self.arrived {
            let key = arrived.json()["key_id"].as_str().unwrap().to_owned();
            let of_key = numbers.entry(key).or_default();
            let known = of_key.insert(arrived.sequence(), &arrived.id);
            assert!(known.is_none_or(|known| known == arrived.id), "{arrived:?}");
        }
        assert_eq!(numbers.len(), KEYS);
        for (key, of_key) in numbers {
            assert!(of_key.keys().copied().eq(1..=of_key.len() as u64), "{key}");
        }
    }
}

/// How many events a process has delivered.
fn delivered(process: &Process) -> usize {
    process.metric("claviger_postbacks_delivered_total") as usize
}

#[test]
fn one_process_sends_what_either_accepts_and_what_it_had_under_way_when_it_died_the_other() {
    let stage = Stage::set();
    let mut one = start(&stage, "one");
    sooner_or_later(|| match one.metric("claviger_leader") {
        leads if leads > 0.5 => Ok(()),
        leads => Err(leads),
    });
    let other = start(&stage, "other");
    let (by_one, by_other) = (administrator(&one), administrator(&other));
    let mut told = Told::set(&by_one);
    let began = Instant::now();
    let mut numbers = 0;
    for admin in [&by_one, &by_other, &by_one, &by_other] {
        told.publish(admin, numbers..numbers + EVENTS);
        numbers += EVENTS;
        told.wait_for_all(&by_one);
    }
    told.arrived.extend(told.receiver.rest());
    told.assert_numbered();
    let ids: BTreeSet<_> = told.arrived.iter().map(|arrived| &arrived.id).collect();
    // Only what one has kept to itself for so long may another one take.
    if began.elapsed() < LEASE {
        assert_eq!(ids.len(), told.arrived.len(), "an event came twice");
    }
    // An answer is counted after it has come.
    let shares = sooner_or_later(|| match (delivered(&one), delivered(&other)) {
        shares if shares.0 + shares.1 >= ids.len() => Ok(shares),
        shares => Err(shares),
    });
    figure(&format!(
        "POSTbacks, two processes on one PostgreSQL: {} events, {} delivered by the one that led, {} by the other, {} twice",
        ids.len(),
        shares.0,
        shares.1,
        told.arrived.len() - ids.len(),
    ));

    told.receiver.answer(Answer::Nothing);
    told.publish(&by_other, numbers..numbers + EVENTS);
    let first = by_other.runtime.block_on(told.receiver.next());
    told.arrived.push(first);
    one.kill();
    told.receiver.answer(Answer::Status(204));
    // As if the time for which it had taken them were over.
    let over = "UPDATE deliveries SET next_attempt_time = 1 WHERE next_attempt_time IS NOT NULL";
    stage.database.sql(over);
    told.wait_for_all(&by_other);
    told.assert_numbered();
    let left = "SELECT count(*) FROM deliveries WHERE state <> 'DELIVERED'";
    let began = Instant::now();
    while stage.database.sql(left) != "0" {
        assert!(began.elapsed() < PATIENCE, "events are left");
        between_looks();
    }
}
