//! `docker-compose.yml`, as the parser of `docker compose` reads it.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use super::{Secrets, assert_settings, read, time_to_stop};
use crate::harness::{repository, tool};

/// The file, parsed and checked against the schema of compose files.
pub(super) struct Compose(Value);

impl Compose {
    pub(super) fn read() -> Self {
        let output = Command::new(tool("compose-go"))
            .args(["-format", "json"])
            .arg(repository().join("docker-compose.yml"))
            .env("COMPOSE_PROJECT_NAME", "claviger")
            .output()
            .unwrap();
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && complained.is_empty(),
            "{complained}"
        );
        Self(serde_json::from_slice(&output.stdout).unwrap())
    }

    fn services(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0["services"].as_object().unwrap().iter()
    }

    /// The services that are Claviger.
    pub(super) fn replicas(&self) -> Vec<&str> {
        let ours = self.services().filter(|(_, s)| s["image"] == "claviger");
        ours.map(|(name, _)| name.as_str()).collect()
    }

    /// The networks that a service is on.
    fn networks(&self, service: &str) -> Vec<&str> {
        let networks = self.0["services"][service]["networks"].as_object();
        networks.unwrap().keys().map(String::as_str).collect()
    }

    /// The variables of a service, secrets where the script has made them.
    pub(super) fn settings(&self, service: &str, secrets: &Secrets) -> BTreeMap<String, String> {
        let variables = self.0["services"][service]["environment"].as_object();
        let granted = texts(&self.0["services"][service]["secrets"], "source");
        variables
            .unwrap()
            .iter()
            .map(|(name, value)| {
                let value = value.as_str().unwrap();
                let value = match value.strip_prefix("/run/secrets/") {
                    Some(secret) => {
                        assert!(granted.contains(&secret), "`{service}` lacks `{secret}`");
                        secrets.file(secret).to_str().unwrap().to_owned()
                    }
                    None => value.to_owned(),
                };
                (name.clone(), value)
            })
            .collect()
    }
}

/// A field of each object in a list; nothing of no list.
fn texts<'v>(list: &'v Value, field: &str) -> Vec<&'v str> {
    let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|v| v[field].as_str().unwrap()).collect()
}

#[test]
fn two_replicas_have_valid_settings_and_time_to_drain() {
    let (compose, secrets) = (Compose::read(), Secrets::make());
    assert_eq!(compose.replicas(), ["claviger-1", "claviger-2"]);
    let of = |name| compose.settings(name, &secrets);
    assert_eq!(of("claviger-1"), of("claviger-2"));
    for name in compose.replicas() {
        let variables = of(name);
        assert_settings(&variables);
        for demanded in [
            "CLAVIGER_DATABASE_URL_FILE",
            "CLAVIGER_ROOT_KEY_FILE",
            "CLAVIGER_BOOTSTRAP_TOKEN_FILE",
        ] {
            assert!(variables.contains_key(demanded), "`{demanded}` in `{name}`");
        }
        let service = &compose.0["services"][name];
        let grace = super::seconds(service["stop_grace_period"].as_str().unwrap());
        assert!(grace > time_to_stop(&variables), "`{name}`: {grace} s");
    }
}

#[test]
fn whatever_is_named_is_there_and_nothing_is_there_for_nothing() {
    let (compose, secrets) = (Compose::read(), Secrets::make());
    let (mut granted, mut mounted, mut joined) = (Vec::new(), Vec::new(), Vec::new());
    for (name, service) in compose.services() {
        granted.extend(texts(&service["secrets"], "source"));
        joined.extend(service["networks"].as_object().unwrap().keys());
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let source = volume["source"].as_str().unwrap();
            match volume["type"].as_str() {
                Some("bind") => assert!(repository().join(source).is_file(), "{source}"),
                _ => mounted.push(source),
            }
        }
        for needed in service["depends_on"].as_object().into_iter().flatten() {
            let (other, how) = needed;
            assert_eq!(how["condition"], "service_healthy");
            let checks = &compose.0["services"][other];
            let checked = checks["healthcheck"].is_object() || checks["image"] == "claviger";
            assert!(checked, "`{name}` waits for `{other}`, which says nothing");
        }
    }
    for (what, mut used) in [
        ("secrets", granted.into_iter().map(str::to_owned).collect()),
        ("volumes", mounted.into_iter().map(str::to_owned).collect()),
        ("networks", joined.into_iter().cloned().collect::<Vec<_>>()),
    ] {
        used.sort();
        used.dedup();
        let declared = compose.0[what].as_object().unwrap();
        assert_eq!(used, declared.keys().cloned().collect::<Vec<_>>(), "{what}");
    }
    for (name, secret) in compose.0["secrets"].as_object().unwrap() {
        let file = secret["file"].as_str().unwrap();
        assert!(file.ends_with(&format!("/deploy/secrets/{name}")), "{file}");
        assert!(!secrets.read(name).trim().is_empty());
    }
}

#[test]
fn every_port_is_on_loopback_and_every_listener_is_where_its_port_says() {
    let compose = Compose::read();
    let mut published = Vec::new();
    for (name, service) in compose.services() {
        for port in service["ports"].as_array().into_iter().flatten() {
            assert_eq!(port["host_ip"], "127.0.0.1", "`{name}`");
            published.push((name.as_str(), port["target"].as_u64().unwrap()));
        }
    }
    let administration = 50052;
    assert_eq!(
        published,
        [
            ("claviger-1", administration),
            ("claviger-2", administration),
            ("envoy", 10000)
        ]
    );
    let secrets = Secrets::make();
    for name in compose.replicas() {
        let listens = &compose.settings(name, &secrets)["CLAVIGER_ADMIN_LISTEN"];
        assert!(
            listens.ends_with(&format!(":{administration}")),
            "{listens}"
        );
    }
    // Who shares a network with a replica may ask for decisions: neither the service nor who is on `public`.
    let replica = compose.networks("claviger-1");
    assert_eq!(compose.networks("claviger-2"), replica);
    let beside: Vec<_> = compose
        .services()
        .map(|(name, _)| name.as_str())
        .filter(|name| compose.networks(name).iter().any(|n| replica.contains(n)))
        .collect();
    assert_eq!(beside, ["claviger-1", "claviger-2", "envoy", "postgres"]);
    for network in ["decisions", "database", "service"] {
        assert_eq!(compose.0["networks"][network]["internal"], true);
    }
}

#[test]
fn images_have_versions_and_envoy_s_is_the_one_of_the_tests() {
    let compose = Compose::read();
    for (name, service) in compose.services() {
        let image = service["image"].as_str().unwrap();
        let versioned = image
            .rsplit_once(':')
            .is_some_and(|(_, tag)| tag != "latest");
        assert!(versioned || image == "claviger", "`{name}`: {image}");
    }
    let tested = read("scripts/tools.sh");
    let tested = tested
        .lines()
        .find_map(|line| line.strip_prefix("ENVOY_VERSION="))
        .unwrap();
    let image = &compose.0["services"]["envoy"]["image"];
    assert_eq!(image, &format!("envoyproxy/envoy:distroless-v{tested}"));
}

/// The parser does see what is wrong: or all of the above would say little.
#[test]
fn the_parser_finds_a_misspelt_field() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("docker-compose.yml");
    let text = read("docker-compose.yml").replace("healthcheck:", "healthchek:");
    std::fs::write(&file, text).unwrap();
    let output = Command::new(tool("compose-go"))
        .arg(&file)
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("healthchek"));
}
