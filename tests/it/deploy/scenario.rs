//! All processes of `docker-compose.yml`, started by hand with its settings.

use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use super::Secrets;
use super::compose::Compose;
use crate::harness::{
    Admin, BINARY, Envoy, Folder, PATIENCE, Postgres, Starting, Upstream, for_two, header, key,
};

/// A replica with the settings of its service; only where it listens and keeps its files is this machine's.
fn replica(compose: &Compose, name: &str, secrets: &Secrets, folder: &Arc<Folder>) -> Starting {
    let mut variables = compose.settings(name, secrets);
    for listener in [
        "CLAVIGER_LISTEN",
        "CLAVIGER_ADMIN_LISTEN",
        "CLAVIGER_HTTP_LISTEN",
    ] {
        let listens = variables.get_mut(listener).unwrap();
        assert!(listens.starts_with("0.0.0.0:"), "{listens}");
        "127.0.0.1:0".clone_into(listens);
    }
    let data = folder.path().join(name);
    variables.insert(
        "CLAVIGER_DATA_DIR".to_owned(),
        data.to_str().unwrap().to_owned(),
    );
    let mut command = Command::new(BINARY);
    command.arg("serve");
    let variables: Vec<_> = variables.iter().map(|(n, v)| (&**n, &**v)).collect();
    Starting::run(folder, command, &variables)
}

#[test]
fn a_key_disabled_on_one_replica_of_the_compose_file_is_refused_through_its_envoy() {
    let folder = Folder::new();
    let (compose, secrets) = (Compose::read(), Secrets::make());
    let postgres = Postgres::start(&folder);
    let url = secrets.file("database-url");
    std::fs::remove_file(&url).unwrap();
    std::fs::write(&url, &postgres.create_database().url).unwrap();

    // Both at once, on an empty database: as compose starts them.
    let starting =
        ["claviger-1", "claviger-2"].map(|name| replica(&compose, name, &secrets, &folder));
    let [one, mut two] = starting.map(Starting::serving);
    let upstream = Upstream::start();
    let mut configuration = for_two([one.grpc(), two.grpc()], &upstream);
    // A busy machine is not the fault that the sample's deadline is for.
    configuration.set(" timeout: 0.25s", " timeout: 20s");
    let envoy = Envoy::with_configuration(&folder, &configuration.0);

    let token = secrets.read("bootstrap-token").trim().to_owned();
    let administration = one.address("admin").parse().unwrap();
    let admin = Admin::connect(administration, Some(token));
    admin.declare("default", &["orders:read"]);
    let made = admin.make("default", key("reader", &["orders:read"]));
    let status = || {
        let answer = envoy.get("/orders", &[header("x-api-key", &made.token)]);
        answer.status
    };
    // Envoy asks either in turn; the other one follows within milliseconds, and each is to say so.
    let settles = |wanted| {
        let deadline = Instant::now() + PATIENCE;
        let mut in_a_row = 0;
        while Instant::now() < deadline {
            in_a_row = if status() == wanted { in_a_row + 1 } else { 0 };
            if in_a_row == 4 {
                return;
            }
        }
        panic!("Envoy does not come to answer {wanted}");
    };
    settles(200);
    admin.enable(&made.id, false).unwrap();
    settles(401);
    assert_eq!(envoy.get("/orders", &[]).status, 401);
    admin.enable(&made.id, true).unwrap();
    settles(200);

    // One of them ends in order: Envoy goes on with the other.
    assert!(two.stop().success());
    settles(200);
}
