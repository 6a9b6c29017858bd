//! A server that answers what a test wants, and what is asked of it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures::{Stream, StreamExt as _};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use super::super::io::testing::Captured;
use super::super::{Command, Exit, run_client};
use super::command;
use crate::grpc::proto::v1;
use v1::authorize_server::{Authorize, AuthorizeServer};
use v1::import_result::Outcome;
use v1::key_admin_server::{KeyAdmin, KeyAdminServer};

pub(super) const TOKEN: &str = "clv_the-token-that-is-shown-once";

/// A server that records what it was asked, and who asked.
#[derive(Clone, Default)]
pub(super) struct Fake {
    pub(super) calls: Arc<Mutex<Vec<String>>>,
    pub(super) deny: bool,
    /// How far changes of keys came, for who waits.
    pub(super) propagation: Option<v1::Propagation>,
    /// The pages of a list of keys.
    pub(super) pages: Arc<Mutex<VecDeque<v1::ListKeysResponse>>>,
    /// The items that were imported, in order, those of broken streams too.
    pub(super) imported: Arc<Mutex<Vec<v1::ImportItem>>>,
    /// How many messages each coming stream answers before it breaks; without an entry: all.
    pub(super) breaks: Arc<Mutex<VecDeque<usize>>>,
    /// What a stream breaks with.
    pub(super) broken: Option<Status>,
    /// Resolves tests' waiting whenever a message was answered.
    pub(super) answered: Arc<tokio::sync::Notify>,
    /// Messages are answered only while it has permits; none: always.
    pub(super) gate: Option<Arc<tokio::sync::Semaphore>>,
}

impl Fake {
    fn heard<T: std::fmt::Debug>(&self, request: &Request<T>) {
        let who = request.metadata().get("authorization");
        let who = who.map_or("nobody", |v| v.to_str().unwrap());
        let call = format!("{who}: {:?}", request.get_ref());
        self.calls.lock().unwrap().push(call);
    }

    /// A server with these pages of keys.
    pub(super) fn with_pages(pages: Vec<Vec<v1::Key>>) -> Self {
        let last = pages.len();
        let pages = pages.into_iter().enumerate().map(|(index, keys)| {
            let next = index + 1;
            v1::ListKeysResponse {
                keys,
                next_page_token: if next == last {
                    String::new()
                } else {
                    format!("page{next}")
                },
                tokens: Vec::new(),
            }
        });
        Self {
            pages: Arc::new(Mutex::new(pages.collect())),
            ..Self::default()
        }
    }

    /// Imports as the server does: an `import_id` once, names that begin with `bad` never.
    fn import(&self, message: v1::ImportKeysRequest) -> v1::ImportKeysResponse {
        let mut imported = self.imported.lock().unwrap();
        let results = message.items.into_iter().map(|item| {
            let mut result = v1::ImportResult {
                import_id: item.import_id.clone(),
                key_id: format!("key_{}", item.import_id),
                ..Default::default()
            };
            let there = imported.iter().any(|i| i.import_id == item.import_id);
            let outcome = if item
                .key
                .as_ref()
                .is_some_and(|k| k.display_name.starts_with("bad"))
            {
                result.key_id = String::new();
                result.error = Some(v1::ImportError {
                    reason: "INVALID_FIELD".to_owned(),
                    message: "`key.display_name` is bad".to_owned(),
                    field: "key.display_name".to_owned(),
                });
                Outcome::Refused
            } else if message.validate_only {
                Outcome::Valid
            } else if there {
                Outcome::AlreadyImported
            } else {
                imported.push(item);
                Outcome::Created
            };
            result.outcome = outcome.into();
            result
        });
        v1::ImportKeysResponse {
            results: results.collect(),
            revision: "e.7".to_owned(),
        }
    }
}

pub(super) fn a_key() -> v1::Key {
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
            propagation: self.propagation.clone(),
        }))
    }

    type ImportKeysStream =
        Pin<Box<dyn Stream<Item = Result<v1::ImportKeysResponse, Status>> + Send>>;

    async fn import_keys(
        &self,
        request: Request<Streaming<v1::ImportKeysRequest>>,
    ) -> Result<Response<Self::ImportKeysStream>, Status> {
        let fake = self.clone();
        let breaks_after = self.breaks.lock().unwrap().pop_front();
        let broken = self
            .broken
            .clone()
            .unwrap_or_else(|| Status::unavailable("going away"));
        let answers = request
            .into_inner()
            .enumerate()
            .then(move |(index, message)| {
                let fake = fake.clone();
                let broken = broken.clone();
                async move {
                    let message = message?;
                    fake.calls.lock().unwrap().push(format!(
                        "{} in {:?}, validate_only {}",
                        message.items.len(),
                        message.workspace,
                        message.validate_only
                    ));
                    if breaks_after.is_some_and(|count| index >= count) {
                        return Err(broken);
                    }
                    if let Some(gate) = &fake.gate {
                        gate.acquire().await.unwrap().forget();
                    }
                    let answer = fake.import(message);
                    fake.answered.notify_one();
                    Ok(answer)
                }
            });
        // As a stream ends with its first error.
        let answers = answers.scan(false, |ended, answer| {
            let before = std::mem::replace(ended, answer.is_err());
            std::future::ready((!before).then_some(answer))
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn list_keys(
        &self,
        request: Request<v1::ListKeysRequest>,
    ) -> Result<Response<v1::ListKeysResponse>, Status> {
        self.heard(&request);
        let page = self.pages.lock().unwrap().pop_front();
        page.map(Response::new)
            .ok_or_else(|| Status::unauthenticated("no such key"))
    }

    unused! {
        delete_key: DeleteKeyRequest => DeleteKeyResponse,
        undelete_key: UndeleteKeyRequest => UndeleteKeyResponse,
        regenerate_secret: RegenerateSecretRequest => RegenerateSecretResponse,
        revoke_secret: RevokeSecretRequest => RevokeSecretResponse,
        reveal_secret: RevealSecretRequest => RevealSecretResponse,
        lookup_key: LookupKeyRequest => LookupKeyResponse,
        report_leak: ReportLeakRequest => ReportLeakResponse,
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

    async fn batch_check(
        &self,
        request: Request<v1::BatchCheckRequest>,
    ) -> Result<Response<v1::BatchCheckResponse>, Status> {
        self.heard(&request);
        let results = request.into_inner().checks.into_iter().map(answer_to);
        Ok(Response::new(v1::BatchCheckResponse {
            results: results.collect(),
        }))
    }
}

/// Allows tokens that begin with `good`, finds those malformed that begin with `odd`, denies others.
fn answer_to(check: v1::CheckRequest) -> v1::BatchCheckResult {
    use v1::batch_check_result::Result as Answer;
    let token = check.credential.unwrap_or_default().token;
    let result = if token.starts_with("odd") {
        Answer::Error(v1::CheckError::default())
    } else {
        let decision = if token.starts_with("good") {
            v1::Decision::Allow
        } else {
            v1::Decision::Deny
        };
        Answer::Response(v1::CheckResponse {
            decision: decision.into(),
            reason: v1::Reason::Ok.into(),
            ..Default::default()
        })
    };
    v1::BatchCheckResult {
        result: Some(result),
    }
}

/// Runs a command against the fake server on a Unix socket.
pub(super) async fn run(fake: &Fake, args: &[&str], input: &[u8]) -> (Exit, Captured) {
    let captured = Captured {
        input: input.to_vec(),
        environment: vec![("CLAVIGER_TOKEN", "admin-token".to_owned())],
        ..Captured::default()
    };
    run_with(fake, args, captured).await
}

/// Runs a command against the fake server, with what it hears and says.
pub(super) async fn run_with(fake: &Fake, args: &[&str], captured: Captured) -> (Exit, Captured) {
    let services = Routes::new(KeyAdminServer::new(fake.clone()))
        .add_service(AuthorizeServer::new(fake.clone()));
    run_against(services, args, captured).await
}

/// Runs a command against services on a Unix socket.
pub(super) async fn run_against(
    services: Routes,
    args: &[&str],
    mut captured: Captured,
) -> (Exit, Captured) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let server = Server::builder()
        .add_routes(services)
        .serve_with_incoming(UnixListenerStream::new(listener));
    let endpoint = format!("--endpoint=unix:{}", socket.display());
    let args: Vec<_> = args.iter().copied().chain([endpoint.as_str()]).collect();
    let Command::Client(client) = command(&args) else {
        panic!("not a client")
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
