//! Replicas that are replaced one after the other behind Envoy, under load, while nobody asks twice: nobody notices.

use std::time::{Duration, Instant};

use super::{BOOTSTRAP_TOKEN, Stage, administrator};
use crate::harness::{
    Envoy, Process, ROOT_KEY, SOAK, Upstream, Visitors, figure, for_two, header, key,
    sooner_or_later,
};

/// How often both are replaced.
const ROUNDS: usize = if SOAK { 10 } else { 1 };
/// Clients, and how long each waits between two requests.
const CLIENTS: usize = 8;
const PAUSE: Duration = Duration::from_millis(if SOAK { 1 } else { 20 });
/// How many requests are to be answered between two steps.
const SOME: usize = if SOAK { 2_000 } else { 100 };

/// Where the replicas listen: addresses of their own, so that nobody takes their ports while they are away.
const ADDRESSES: [&str; 2] = ["127.0.0.2", "127.0.0.3"];

impl Stage {
    /// A replica as it is deployed: with the drain delay of the samples.
    fn rolled(&self, name: &str, listen: &str) -> Process {
        let environment = [
            ("CLAVIGER_DATABASE_URL", &*self.database.url),
            ("CLAVIGER_ROOT_KEY", ROOT_KEY),
            ("CLAVIGER_BOOTSTRAP_TOKEN", BOOTSTRAP_TOKEN),
            ("CLAVIGER_REPLICA_NAME", name),
        ];
        let data = self.data(name);
        let args = [
            "--data-dir",
            &data,
            "--listen",
            listen,
            "--drain-delay",
            "5s",
        ];
        crate::harness::Starting::begin(&self.folder, &args, &environment).serving()
    }
}

/// Waits until Envoy asks this one.
fn is_asked(replica: &Process) {
    sooner_or_later(|| {
        let decided = replica.metric("claviger_decisions_total{surface=\"envoy\",reason=\"OK\"}");
        if decided > 0.0 { Ok(()) } else { Err(decided) }
    });
}

#[test]
fn no_request_fails_while_two_replicas_behind_envoy_are_replaced_one_by_one_under_load() {
    let stage = Stage::set();
    let names = ["one", "two"];
    let mut replicas: Vec<Process> = names
        .iter()
        .zip(ADDRESSES)
        .map(|(name, address)| stage.rolled(name, &format!("{address}:0")))
        .collect();
    let places = [replicas[0].grpc(), replicas[1].grpc()];
    let admin = administrator(&replicas[0]);
    admin.declare("default", &["orders:read"]);
    let made = admin.make("default", key("visitor", &["orders:read"]));

    let upstream = Upstream::start();
    let mut configuration = for_two(places, &upstream);
    if !SOAK {
        // On a machine that is busy with a test suite.
        configuration.set(" timeout: 0.25s", " timeout: 20s");
        for interval in [" interval: 2s", "no_traffic_interval: 2s"] {
            let shorter = interval.replace("2s", "0.25s");
            configuration.0 = configuration.0.replace(interval, &shorter);
        }
    }
    let envoy = Envoy::with_configuration(&stage.folder, &configuration.0);
    // The key is there on both, and Envoy has found them well.
    replicas.iter().for_each(|replica| {
        sooner_or_later(|| {
            let answer = envoy.get("/orders", &[header("x-api-key", &made.token)]);
            let decided =
                replica.metric("claviger_decisions_total{surface=\"envoy\",reason=\"OK\"}");
            if answer.status == 200 && decided > 0.0 {
                Ok(())
            } else {
                Err((answer.status, decided))
            }
        });
    });

    let begun = Instant::now();
    let visitors = Visitors::start(CLIENTS, PAUSE, envoy.address(), &made.token);
    for _ in 0..ROUNDS {
        for (n, name) in names.iter().enumerate() {
            visitors.wait_for(SOME);
            let status = replicas[n].stop();
            assert!(status.success(), "{}", replicas[n].log.rest());
            visitors.wait_for(SOME);
            replicas[n] = stage.rolled(name, &places[n].to_string());
            is_asked(&replicas[n]);
        }
    }
    visitors.wait_for(SOME);
    let took = begun.elapsed();
    let (asked, faults) = visitors.stop();
    assert!(
        faults.is_empty(),
        "{} of {asked}: {faults:#?}",
        faults.len()
    );
    figure(&format!(
        "rolling restart behind Envoy, retries off: each of two replicas replaced {ROUNDS} times under {:.0} requests a second, \
         {asked} requests, {} failed",
        asked as f64 / took.as_secs_f64(),
        faults.len()
    ));
}
