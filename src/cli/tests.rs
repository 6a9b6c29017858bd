//! Tests of the command line, and of commands against a server that answers what a test wants.

use std::sync::{Arc, Mutex};

use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::io::testing::Captured;
use super::*;
use crate::grpc::proto::v1;
use v1::authorize_server::{Authorize, AuthorizeServer};
use v1::key_admin_server::{KeyAdmin, KeyAdminServer};

const TOKEN: &str = "clv_the-token-that-is-shown-once";

fn command(args: &[&str]) -> Command {
    Cli::try_parse_from(["claviger"].iter().chain(args))
        .unwrap_or_else(|e| panic!("{e}"))
        .into_command()
}

fn usage_error(args: &[&str]) -> String {
    let error = Cli::try_parse_from(["claviger"].iter().chain(args)).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    error.to_string()
}

#[test]
fn the_definition_is_sound() {
    definition().debug_assert();
}

#[test]
fn without_a_command_it_serves() {
    for args in [
        &["--listen=127.0.0.1:1"] as &[&str],
        &["serve", "--listen=127.0.0.1:1"],
    ] {
        let Command::Serve(args) = command(args) else {
            panic!("not serve")
        };
        assert_eq!(args.listen, "127.0.0.1:1");
    }
    assert!(matches!(command(&[]), Command::Serve(_)));
    assert!(matches!(
        command(&["check-config"]),
        Command::CheckConfig(_)
    ));
    assert!(matches!(
        command(&["recover", "--data-dir=x"]),
        Command::Recover(_)
    ));
}

#[test]
fn settings_before_another_command_are_refused_instead_of_ignored() {
    usage_error(&["--listen=127.0.0.1:1", "keys", "list"]);
}

#[test]
fn options_of_all_commands_go_before_and_after_the_last_word() {
    for args in [
        &["keys", "-o", "json", "-w", "acme", "list"] as &[&str],
        &["keys", "list", "-o", "json", "-w", "acme"],
    ] {
        let Command::Client(ClientCommand::Keys(keys)) = command(args) else {
            panic!("not keys")
        };
        assert_eq!(keys.common.output.output, Output::Json);
        assert_eq!(keys.workspace.workspace, "acme");
    }
}

#[test]
fn no_option_takes_a_token_as_its_value() {
    fn walk(command: &clap::Command) {
        for arg in command.get_arguments() {
            let name = arg.get_long().unwrap_or_default();
            // What does not name a file or say what to do about tokens would show one in the process list.
            let harmless = [
                "page-token",
                "token-only",
                "with-tokens",
                "token-prefix",
                "secret-storage",
            ];
            let secret =
                name.contains("token") || name.contains("credential") || name.contains("key");
            assert!(
                !secret || name.ends_with("-file") || harmless.contains(&name),
                "--{name}"
            );
        }
        command.get_subcommands().for_each(walk);
    }
    walk(&Cli::command());
}

#[test]
fn every_help_names_its_parts() {
    fn walk(path: &str, command: &mut clap::Command) {
        let help = command.render_long_help().to_string();
        for arg in command.get_arguments() {
            assert!(arg.get_help().is_some(), "{path} {}", arg.get_id());
        }
        assert!(command.get_about().is_some(), "{path}");
        let generated = path.contains(" help");
        assert!(generated || help.contains("Exit codes:"), "{path}");
        for sub in command.get_subcommands_mut() {
            walk(&format!("{path} {}", sub.get_name()), sub);
        }
    }
    let mut command = definition();
    command.build();
    walk("claviger", &mut command);
    let help = command.render_help().to_string();
    assert!(
        help.contains("Exit codes:\n  0  done") && help.contains("CLAVIGER_ROOT_KEY "),
        "{help}"
    );
}

#[test]
fn check_config_says_yes_or_everything_that_is_wrong() {
    let check = |args: &[&str]| {
        let Command::CheckConfig(args) = command(args) else {
            panic!("not check-config")
        };
        let mut captured = Captured::default();
        let exit = check_config(args, &mut captured.io());
        (exit, captured.out(), captured.err())
    };
    let (exit, out, _) = check(&["check-config"]);
    assert_eq!((exit, out.as_str()), (Exit::Ok, "configuration is valid\n"));
    let (exit, out, err) = check(&["check-config", "--listen=x", "--log-format=y"]);
    assert_eq!((exit, out.as_str()), (Exit::Usage, ""));
    assert_eq!(err.lines().count(), 2, "{err}");
    assert!(
        err.lines()
            .all(|line| line.starts_with("error: `--log") || line.starts_with("error: `--listen"))
    );
}

/// A server that records what it was asked, and who asked.
#[derive(Clone, Default)]
struct Fake {
    calls: Arc<Mutex<Vec<String>>>,
    deny: bool,
}

impl Fake {
    fn heard<T: std::fmt::Debug>(&self, request: &Request<T>) {
        let who = request.metadata().get("authorization");
        let who = who.map_or("nobody", |v| v.to_str().unwrap());
        let call = format!("{who}: {:?}", request.get_ref());
        self.calls.lock().unwrap().push(call);
    }
}

fn a_key() -> v1::Key {
    v1::Key {
        id: "key_1".to_owned(),
        display_name: "shop".to_owned(),
        state: 1,
        warnings: vec![v1::Warning {
            code: "SEVERAL_SCOPES".to_owned(),
            message: "it has two scopes".to_owned(),
        }],
        ..Default::default()
    }
}

/// Methods that no test calls.
macro_rules! unused {
    ($($name:ident: $request:ident => $response:ident,)*) => {$(
        fn $name<'life0, 'async_trait>(
            &'life0 self,
            _: Request<v1::$request>,
        ) -> std::pin::Pin<Box<dyn Future<Output = Result<Response<v1::$response>, Status>> + Send + 'async_trait>>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(async { Err(Status::unimplemented("")) })
        }
    )*};
}

#[tonic::async_trait]
impl KeyAdmin for Fake {
    async fn create_key(
        &self,
        request: Request<v1::CreateKeyRequest>,
    ) -> Result<Response<v1::CreateKeyResponse>, Status> {
        self.heard(&request);
        let tokens = vec![v1::IssuedToken {
            secret_id: "sec_1".to_owned(),
            slot: 1,
            token: TOKEN.to_owned(),
        }];
        Ok(Response::new(v1::CreateKeyResponse {
            key: Some(a_key()),
            tokens,
            token_withheld: false,
            revision: "e.1".to_owned(),
        }))
    }

    async fn acknowledge_secret(
        &self,
        request: Request<v1::AcknowledgeSecretRequest>,
    ) -> Result<Response<v1::AcknowledgeSecretResponse>, Status> {
        self.heard(&request);
        Ok(Response::new(v1::AcknowledgeSecretResponse::default()))
    }

    async fn get_key(
        &self,
        _: Request<v1::GetKeyRequest>,
    ) -> Result<Response<v1::GetKeyResponse>, Status> {
        Err(Status::not_found("there is no such key"))
    }

    async fn update_key(
        &self,
        request: Request<v1::UpdateKeyRequest>,
    ) -> Result<Response<v1::UpdateKeyResponse>, Status> {
        self.heard(&request);
        Ok(Response::new(v1::UpdateKeyResponse {
            key: Some(a_key()),
            revision: "e.2".to_owned(),
        }))
    }

    type ImportKeysStream = tokio_stream::Empty<Result<v1::ImportKeysResponse, Status>>;

    async fn import_keys(
        &self,
        _: Request<tonic::Streaming<v1::ImportKeysRequest>>,
    ) -> Result<Response<Self::ImportKeysStream>, Status> {
        Err(Status::unimplemented(""))
    }

    unused! {
        list_keys: ListKeysRequest => ListKeysResponse,
        delete_key: DeleteKeyRequest => DeleteKeyResponse,
        undelete_key: UndeleteKeyRequest => UndeleteKeyResponse,
        regenerate_secret: RegenerateSecretRequest => RegenerateSecretResponse,
        revoke_secret: RevokeSecretRequest => RevokeSecretResponse,
        reveal_secret: RevealSecretRequest => RevealSecretResponse,
        lookup_key: LookupKeyRequest => LookupKeyResponse,
    }
}

#[tonic::async_trait]
impl Authorize for Fake {
    async fn check(
        &self,
        request: Request<v1::CheckRequest>,
    ) -> Result<Response<v1::CheckResponse>, Status> {
        self.heard(&request);
        let decision = if self.deny {
            v1::Decision::Deny
        } else {
            v1::Decision::Allow
        };
        Ok(Response::new(v1::CheckResponse {
            decision: decision.into(),
            reason: v1::Reason::Ok.into(),
            ..Default::default()
        }))
    }

    unused! { batch_check: BatchCheckRequest => BatchCheckResponse, }
}

/// Runs a command against the fake server on a Unix socket.
async fn run(fake: &Fake, args: &[&str], input: &[u8]) -> (Exit, Captured) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let server = Server::builder()
        .add_service(KeyAdminServer::new(fake.clone()))
        .add_service(AuthorizeServer::new(fake.clone()))
        .serve_with_incoming(UnixListenerStream::new(listener));
    let endpoint = format!("--endpoint=unix:{}", socket.display());
    let args: Vec<_> = args.iter().copied().chain([endpoint.as_str()]).collect();
    let Command::Client(client) = command(&args) else {
        panic!("not a client")
    };
    let mut captured = Captured {
        input: input.to_vec(),
        environment: vec![("CLAVIGER_TOKEN", "admin-token".to_owned())],
        ..Captured::default()
    };
    let exit = {
        let mut io = captured.io();
        tokio::select! {
            exit = run_client(client, &mut io) => exit,
            served = server => panic!("{served:?}"),
        }
    };
    (exit, captured)
}

#[tokio::test]
async fn a_new_token_goes_to_standard_output_alone_and_is_acknowledged_when_asked() {
    let fake = Fake::default();
    let (exit, io) = run(&fake, &["keys", "create", "shop", "--scope=a,b"], b"").await;
    assert_eq!(exit, Exit::Ok, "{}", io.err());
    assert_eq!(io.out(), format!("{TOKEN}\n"));
    assert_eq!(
        io.err(),
        "created `key_1` (shop)\nwarning: it has two scopes (SEVERAL_SCOPES)\nsave it now; it is not shown again\n"
    );
    let (exit, io) = run(
        &fake,
        &["keys", "create", "shop", "--acknowledge", "-o=json"],
        b"",
    )
    .await;
    assert_eq!(exit, Exit::Ok);
    let value: Value = serde_json::from_str(&io.out()).unwrap();
    assert_eq!(value["tokens"][0]["token"], TOKEN);
    assert!(
        !io.err().contains(TOKEN) && !io.err().contains("save it"),
        "{}",
        io.err()
    );
    let calls = fake.calls.lock().unwrap();
    assert_eq!(calls.len(), 3, "{calls:?}");
    assert!(
        calls[0].starts_with("Bearer admin-token: ") && calls[0].contains(r#"scopes: ["a", "b"]"#)
    );
    assert!(
        calls[2].contains("AcknowledgeSecretRequest") && calls[2].contains("sec_1"),
        "{}",
        calls[2]
    );
}

#[tokio::test]
async fn an_external_token_comes_from_standard_input() {
    let fake = Fake::default();
    let args = [
        "keys",
        "create",
        "old",
        "--external-token-file=-",
        "--allow-weak",
    ];
    let (exit, _) = run(&fake, &args, b"a-token-of-another-system\n").await;
    assert_eq!(exit, Exit::Ok);
    let calls = fake.calls.lock().unwrap();
    assert!(
        calls[0].contains("ExternalToken { token: (redacted), allow_weak: true }"),
        "{}",
        calls[0]
    );
}

#[tokio::test]
async fn an_update_names_just_what_was_given() {
    let fake = Fake::default();
    let args = [
        "keys",
        "update",
        "key_1",
        "--expires=never",
        "--clear=labels",
        "--network-mode=shadow",
    ];
    let (exit, io) = run(&fake, &args, b"").await;
    assert_eq!(exit, Exit::Ok, "{}", io.err());
    let heard = fake.calls.lock().unwrap().remove(0);
    assert!(
        heard.contains(r#"paths: ["expire_time", "enforcement.network", "labels"]"#),
        "{heard}"
    );
    let (exit, io) = run(&fake, &["keys", "update", "key_1"], b"").await;
    assert_eq!(exit, Exit::Usage);
    assert!(io.err().starts_with("error: there is nothing to change\n"));
    let both = ["keys", "update", "key_1", "--scope=a", "--clear=scopes"];
    assert_eq!(run(&fake, &both, b"").await.0, Exit::Usage);
    let (exit, _) = run(&fake, &["keys", "disable", "key_1"], b"").await;
    assert_eq!(exit, Exit::Ok);
    assert!(fake.calls.lock().unwrap()[0].contains("enabled: Some(false)"));
}

#[tokio::test]
async fn check_exits_with_the_decision_and_sends_no_administrator_token() {
    let mut fake = Fake::default();
    let args = ["check", "--credential-file=-", "--scope=a", "-o=json"];
    let (exit, io) = run(&fake, &args, b"the-credential\n").await;
    assert_eq!(exit, Exit::Ok);
    assert!(io.out().contains(r#""decision": "ALLOW""#), "{}", io.out());
    assert!(fake.calls.lock().unwrap()[0].starts_with("nobody: "));
    fake.deny = true;
    let (exit, io) = run(&fake, &["check"], b"").await;
    assert_eq!(exit, Exit::Failed);
    assert!(
        io.out().starts_with("decision        DENY (OK)\n"),
        "{}",
        io.out()
    );
}

#[tokio::test]
async fn faults_have_their_exit_codes() {
    let fake = Fake::default();
    let (exit, io) = run(&fake, &["keys", "get", "key_1"], b"").await;
    assert_eq!(
        (exit, io.err().as_str()),
        (Exit::NotFound, "error: there is no such key\n")
    );
    let (exit, _) = run(&fake, &["keys", "list"], b"").await;
    assert_eq!(exit, Exit::Failed);
    let dir = tempfile::tempdir().unwrap();
    let endpoint = format!("--endpoint=unix:{}", dir.path().join("none").display());
    let Command::Client(client) = command(&["check", &endpoint]) else {
        panic!("not a client")
    };
    let mut captured = Captured::default();
    assert_eq!(
        run_client(client, &mut captured.io()).await,
        Exit::Unreachable
    );
    assert!(
        captured.err().contains("can't be reached: No such file"),
        "{}",
        captured.err()
    );
    let Command::Healthcheck(health) = command(&["healthcheck", &endpoint]) else {
        panic!("not healthcheck")
    };
    assert_eq!(healthcheck(health, &mut captured.io()).await, Exit::Failed);
}

#[tokio::test]
async fn a_server_that_hangs_up_or_never_answers_is_said_to() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let endpoint = format!("--endpoint=unix:{}", socket.display());
    for (hangs_up, said) in [
        (false, "error: the server did not answer in time\n"),
        (true, "error: "),
    ] {
        let Command::Client(client) = command(&["check", &endpoint, "--timeout=1s"]) else {
            panic!("not a client")
        };
        let mut captured = Captured::default();
        let exit = {
            let mut io = captured.io();
            let mut client = std::pin::pin!(run_client(client, &mut io));
            let peer = tokio::select! {
                exit = &mut client => panic!("{exit:?}"),
                peer = listener.accept() => peer.unwrap(),
            };
            let held = (!hangs_up).then_some(peer);
            let exit = client.await;
            drop(held);
            exit
        };
        assert_eq!(exit, Exit::Unreachable, "{}", captured.err());
        assert!(captured.err().starts_with(said), "{}", captured.err());
    }
}
