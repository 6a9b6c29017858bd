//! One replica leads: another one takes over from one that stops, dies, stands still, or is cut off from the database.

use std::time::Instant;

use claviger::domain::replica::LEASE;
use claviger::grpc::proto::v1;

use super::postbacks::{Told, start};
use super::{BOOTSTRAP_TOKEN, Stage, administrator};
use crate::harness::{Admin, Fault, Process, ROOT_KEY, figure, is_delay, sooner_or_later};

/// Events that are accepted at each step.
const EVENTS: usize = 24;

fn leads(process: &Process) -> bool {
    process.metric("claviger_leader") > 0.5
}

/// Which of them leads, as soon as just one says so.
fn leader(processes: &[&Process]) -> usize {
    sooner_or_later(|| {
        let leading: Vec<bool> = processes.iter().map(|process| leads(process)).collect();
        match (
            leading.iter().position(|l| *l),
            leading.iter().filter(|l| **l).count(),
        ) {
            (Some(only), 1) => Ok(only),
            _ => Err(leading),
        }
    })
}

/// If the one leads before and after, the other can't have led in between, which was too short for two leases.
fn assert_not_both(one: &Process, other: &Process) {
    sooner_or_later(|| {
        let begun = Instant::now();
        let seen = [leads(one), leads(other), leads(one)];
        match begun.elapsed() {
            took if took < LEASE => {
                assert_ne!(seen, [true; 3], "two lead");
                Ok(())
            }
            took => Err(took),
        }
    });
}

/// Who leads by the list of this one, and how many do.
fn listed(admin: &Admin) -> Vec<String> {
    let answer = loop {
        match admin.list_replicas(v1::ListReplicasRequest {}) {
            Ok(answer) => break answer,
            Err(status) => assert!(is_delay(&status), "{status:?}"),
        }
    };
    let leading = answer.replicas.into_iter().filter(|r| r.leading);
    leading.map(|replica| replica.name).collect()
}

#[test]
fn another_replica_leads_and_delivers_when_the_leader_stops_dies_or_stands_still() {
    let stage = Stage::set();
    let names = ["one", "two", "three", "four"];
    let mut alive: Vec<Process> = names.iter().map(|name| start(&stage, name)).collect();
    // Whoever is asked names the same one.
    for process in &alive {
        sooner_or_later(|| {
            let led = leader(&alive.iter().collect::<Vec<_>>());
            match listed(&administrator(process)) {
                listed if listed == [names[led]] => Ok(()),
                listed => Err(listed),
            }
        });
    }
    let mut told = Told::set(&administrator(&alive[0]));
    let mut numbers = 0;
    for end in ["TERM", "KILL", "STOP"] {
        let led = leader(&alive.iter().collect::<Vec<_>>());
        let mut leaving = alive.remove(led);
        let (by_leader, by_next) = (administrator(&leaving), administrator(&alive[0]));
        // What either accepts is delivered, wherever it was accepted.
        for admin in [&by_leader, &by_next] {
            told.publish(admin, numbers..numbers + EVENTS);
            numbers += EVENTS;
        }
        leaving.child.signal(end);
        told.publish(&by_next, numbers..numbers + EVENTS);
        numbers += EVENTS;
        let then = leader(&alive.iter().collect::<Vec<_>>());
        if end == "STOP" {
            leaving.child.signal("CONT");
            assert_not_both(&alive[then], &leaving);
        } else {
            assert_eq!(leaving.child.wait().success(), end == "TERM");
        }
        if end == "KILL" {
            // As if the time for which it had taken some events were over.
            let over =
                "UPDATE deliveries SET next_attempt_time = 1 WHERE next_attempt_time IS NOT NULL";
            stage.database.sql(over);
        }
        told.wait_for_all(&by_next);
    }
    told.arrived.extend(told.receiver.rest());
    told.assert_numbered();
    figure(&format!(
        "one leader of four replicas, stopped, killed and frozen in turn: {} events, none lost, {} came twice",
        told.accepted.len(),
        told.arrived.len() - told.accepted.len(),
    ));
}

#[test]
fn a_leader_that_is_cut_off_from_the_database_leads_no_more_before_another_one_does() {
    let stage = Stage::set();
    let proxy = stage.postgres.proxy();
    let environment = [
        ("CLAVIGER_DATABASE_URL", &*stage.database.url_by(&proxy)),
        ("CLAVIGER_ROOT_KEY", ROOT_KEY),
        ("CLAVIGER_BOOTSTRAP_TOKEN", BOOTSTRAP_TOKEN),
        ("CLAVIGER_REPLICA_NAME", "cut off"),
    ];
    let cut_off = stage.starting_with("cut off", &environment).serving();
    leader(&[&cut_off]);
    for fault in [Fault::Freeze, Fault::Refuse] {
        // One that begins when there is a leader does not lead.
        let mut other = start(&stage, "other");
        assert_not_both(&cut_off, &other);
        proxy.set(fault);
        leader(&[&other]);
        assert!(!leads(&cut_off), "two lead");
        sooner_or_later(|| match listed(&administrator(&other)) {
            listed if listed == ["other"] => Ok(()),
            listed => Err(listed),
        });
        proxy.set(Fault::None);
        leader(&[&cut_off, &other]);
        // It leaves the lead in order, and it is taken again.
        assert!(other.stop().success());
        leader(&[&cut_off]);
    }
}
