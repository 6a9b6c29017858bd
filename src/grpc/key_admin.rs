//! `claviger.v1.KeyAdmin`: requests in, use cases, answers out. The caller was recognised by a layer before.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::app::Core;
use crate::app::auth::Caller;
use crate::app::error::Error;
use crate::app::keys::{KeyPage, LeakReport, NewKey, Regeneration, Revocation};
use crate::app::limit::Shares;
use crate::app::mutate::{Answer, Call};
use crate::app::page;
use crate::domain::id::KeyId;
use crate::domain::key::Key;
use crate::domain::revision::Revision;
use crate::domain::scope::AdminScope;
use crate::domain::token::{Token, TokenDigest};

use super::convert;
use super::guard::busy;
use super::import::{Answers, Session};
use super::inbox::{Inbox, Terms};
use super::proto::v1;
use super::proto::v1::key_admin_server::KeyAdmin;
use super::status::{serve, to_status};

/// The service.
#[derive(Debug, Clone)]
pub struct KeyAdminService {
    core: Arc<Core>,
    /// Says that streams are to end.
    stopping: CancellationToken,
    /// How many imports may be open.
    imports: Arc<Shares>,
}

/// What it takes to read keys, to write them, and to read their tokens: of all keys, or of one's own.
const READ: [AdminScope; 2] = [AdminScope::KeysRead, AdminScope::KeysSelf];
const WRITE: [AdminScope; 2] = [AdminScope::KeysWrite, AdminScope::KeysSelf];
const REVEAL: [AdminScope; 2] = [AdminScope::KeysReveal, AdminScope::KeysSelf];

/// Most imports that are open at once, half of them of one workspace; each may have a message of 4 MiB in memory.
const OPEN_IMPORTS: usize = 16;

impl KeyAdminService {
    /// The service over these use cases; `stopping` ends its streams.
    pub fn new(core: Arc<Core>, stopping: CancellationToken) -> Self {
        Self {
            core,
            stopping,
            imports: Shares::new(OPEN_IMPORTS),
        }
    }

    /// A key as it was made or would be: a dry run has no etag, for the next change will take its revision.
    fn key_at(&self, answer: &Answer<Key>) -> Option<v1::Key> {
        let mut key = self.key(&answer.value)?;
        if answer.revision.is_none() {
            key.etag.clear();
        }
        Some(key)
    }

    fn key(&self, key: &Key) -> Option<v1::Key> {
        Some(convert::key(key, self.core.clock.now()))
    }
}

/// Takes the caller that was recognised before the message was read, sees that it still is one, and demands one of these
/// rights: before the message is looked at (AIP-211).
pub(super) fn caller<T>(
    core: &Core,
    request: Request<T>,
    rights: &[AdminScope],
) -> Result<(Caller, AdminScope, T), Error> {
    let (_, mut extensions, message) = request.into_parts();
    let caller: Caller = extensions
        .remove()
        .ok_or_else(|| Error::internal("a call without a caller"))?;
    let caller = caller.refresh(&core.index.now().view(), core.clock.now())?;
    let (caller, right) = first_of(caller, rights)?;
    Ok((caller, right, message))
}

/// The caller using the first of these rights that it has.
fn first_of(caller: Caller, rights: &[AdminScope]) -> Result<(Caller, AdminScope), Error> {
    let mut missing = None;
    for right in rights {
        match caller.clone().using(*right) {
            Ok(caller) => return Ok((caller, *right)),
            // A portal's user has no right but the one over their own keys, which comes last.
            Err(error) if caller.on_behalf => missing = Some(error),
            Err(error) => missing = missing.or(Some(error)),
        }
    }
    Err(missing.unwrap_or_else(|| Error::internal("a call that needs no right")))
}

/// A call that changes something, repeatable where it has a `request_id`.
macro_rules! call {
    ($caller:expr, $right:expr, $method:literal, $message:ident) => {{
        let request_id = std::mem::take(&mut $message.request_id);
        Call {
            repeat: convert::repeat(&request_id, &$message)?,
            ..Call::once($caller, $right, $method)
        }
    }};
}
pub(super) use call;

/// The same where the answer can wait for all replicas. For how long is no part of what is repeated.
macro_rules! waiting_call {
    ($caller:expr, $right:expr, $method:literal, $message:ident) => {{
        let (wait, deadline) = (
            std::mem::take(&mut $message.wait),
            $message.wait_deadline.take(),
        );
        let wait = convert::wait(wait, deadline)?;
        let call = $crate::grpc::key_admin::call!($caller, $right, $method, $message);
        Call { wait, ..call }
    }};
}
pub(super) use waiting_call;

pub(super) fn revision(revision: Option<Revision>) -> String {
    revision.map(|r| r.to_string()).unwrap_or_default()
}

impl KeyAdminService {
    async fn create(
        &self,
        request: Request<v1::CreateKeyRequest>,
    ) -> Result<v1::CreateKeyResponse, Error> {
        let (caller, right, mut message) = caller(&self.core, request, &WRITE)?;
        let mut call = call!(caller, right, "CreateKey", message);
        call.dry_run = message.validate_only;
        let key = message
            .key
            .ok_or_else(|| Error::invalid("key", "is required"))?;
        let new = NewKey {
            workspace: call
                .caller
                .workspace(&message.workspace, &self.core.default_workspace)?,
            settings: convert::key_settings(key)?,
            primary: convert::source("primary", message.primary)?,
            secondary: message
                .secondary
                .map(|s| convert::source("secondary", Some(s)))
                .transpose()?,
        };
        let answer = self.core.create_key(call, new).await?;
        Ok(v1::CreateKeyResponse {
            key: self.key_at(&answer),
            tokens: convert::issued(&answer.tokens),
            token_withheld: answer.token_withheld,
            revision: revision(answer.revision),
        })
    }

    async fn get(&self, request: Request<v1::GetKeyRequest>) -> Result<v1::GetKeyResponse, Error> {
        let (caller, _right, message) = caller(&self.core, request, &READ)?;
        let key = self
            .core
            .get_key(&caller, convert::parse("id", &message.id)?)
            .await?;
        Ok(v1::GetKeyResponse {
            key: self.key(&key),
        })
    }

    async fn list(
        &self,
        request: Request<v1::ListKeysRequest>,
    ) -> Result<v1::ListKeysResponse, Error> {
        let (caller, _right, message) = caller(&self.core, request, &READ)?;
        let view = convert::enumeration::<v1::KeyView>("view", message.view)?;
        let page = KeyPage {
            workspace: caller.workspace(&message.workspace, &self.core.default_workspace)?,
            filter: convert::key_filter(message.filter)?,
            order: convert::key_order(&message.order_by)?,
            size: page::size(message.page_size)?,
            token: message.page_token,
        };
        let core = &self.core;
        let mut answer = v1::ListKeysResponse::default();
        let call = |caller: Caller| {
            // Who reads only their own reveals only their own, whatever else it may.
            let right = match caller.only_own {
                true => AdminScope::KeysSelf,
                false => AdminScope::KeysReveal,
            };
            Ok::<_, Error>(Call::once(caller.using(right)?, right, "ListKeys"))
        };
        let wire = |keys: Vec<Key>| {
            let now = core.clock.now();
            keys.iter().map(|key| convert::key(key, now)).collect()
        };
        match view {
            v1::KeyView::WithTokens => {
                let (keys, next, tokens) = core.list_keys_with_tokens(call(caller)?, page).await?;
                (answer.keys, answer.next_page_token) = (wire(keys), next);
                answer.tokens = convert::issued(&tokens);
            }
            v1::KeyView::WithDigests => {
                let (keys, next, digests) =
                    core.list_keys_with_digests(call(caller)?, page).await?;
                (answer.keys, answer.next_page_token) = (wire(keys), next);
                convert::add_digests(&mut answer.keys, &digests);
            }
            v1::KeyView::Unspecified | v1::KeyView::WithoutTokens => {
                let (keys, next) = core.list_keys(&caller, page).await?;
                (answer.keys, answer.next_page_token) = (wire(keys), next);
            }
        }
        Ok(answer)
    }

    async fn update(
        &self,
        request: Request<v1::UpdateKeyRequest>,
    ) -> Result<v1::UpdateKeyResponse, Error> {
        let (caller, right, mut message) = caller(&self.core, request, &WRITE)?;
        let mut call = waiting_call!(caller, right, "UpdateKey", message);
        call.dry_run = message.validate_only;
        let key = message
            .key
            .ok_or_else(|| Error::invalid("key", "is required"))?;
        let id = convert::parse("key.id", &key.id)?;
        let etag = key.etag.clone();
        let edits = convert::key_edits(key, message.update_mask)?;
        let answer = self.core.update_key(call, id, etag, edits).await?;
        Ok(v1::UpdateKeyResponse {
            key: self.key_at(&answer),
            revision: revision(answer.revision),
            propagation: answer.propagation.as_ref().map(convert::propagation),
        })
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteKeyRequest>,
    ) -> Result<v1::DeleteKeyResponse, Error> {
        let (caller, right, mut message) = caller(&self.core, request, &WRITE)?;
        let call = waiting_call!(caller, right, "DeleteKey", message);
        let id: KeyId = convert::parse("id", &message.id)?;
        let answer = self
            .core
            .delete_key(call, id, message.etag, message.purge)
            .await?;
        Ok(v1::DeleteKeyResponse {
            key: self.key(&answer.value),
            revision: revision(answer.revision),
            propagation: answer.propagation.as_ref().map(convert::propagation),
        })
    }

    async fn undelete(
        &self,
        request: Request<v1::UndeleteKeyRequest>,
    ) -> Result<v1::UndeleteKeyResponse, Error> {
        let (caller, right, mut message) = caller(&self.core, request, &WRITE)?;
        let call = call!(caller, right, "UndeleteKey", message);
        let id = convert::parse("id", &message.id)?;
        let answer = self.core.undelete_key(call, id, message.etag).await?;
        Ok(v1::UndeleteKeyResponse {
            key: self.key(&answer.value),
            revision: revision(answer.revision),
        })
    }

    async fn regenerate(
        &self,
        request: Request<v1::RegenerateSecretRequest>,
    ) -> Result<v1::RegenerateSecretResponse, Error> {
        const MAX_GRACE: std::time::Duration = std::time::Duration::from_secs(90 * 24 * 3_600);
        let (caller, right, mut message) = caller(&self.core, request, &WRITE)?;
        let call = waiting_call!(caller, right, "RegenerateSecret", message);
        let grace = message
            .grace
            .map(|d| convert::duration("grace", d, MAX_GRACE))
            .transpose()?;
        let what = Regeneration {
            key: convert::parse("key_id", &message.key_id)?,
            slot: convert::slot("slot", message.slot)?,
            source: convert::source("source", message.source)?,
            grace: grace.unwrap_or_default(),
            force: message.force,
            etag: message.etag,
        };
        let Answer {
            value,
            revision: at,
            tokens,
            token_withheld,
            propagation,
        } = self.core.regenerate_secret(call, what).await?;
        Ok(v1::RegenerateSecretResponse {
            key: self.key(&value),
            tokens: convert::issued(&tokens),
            token_withheld,
            revision: revision(at),
            propagation: propagation.as_ref().map(convert::propagation),
        })
    }

    async fn revoke(
        &self,
        request: Request<v1::RevokeSecretRequest>,
    ) -> Result<v1::RevokeSecretResponse, Error> {
        let (caller, right, mut message) = caller(&self.core, request, &WRITE)?;
        let call = waiting_call!(caller, right, "RevokeSecret", message);
        let what = Revocation {
            key: convert::parse("key_id", &message.key_id)?,
            secret: convert::parse("secret_id", &message.secret_id)?,
            reason: convert::revocation_reason("reason", message.reason)?,
            etag: message.etag,
        };
        let answer = self.core.revoke_secret(call, what).await?;
        Ok(v1::RevokeSecretResponse {
            key: self.key(&answer.value),
            revision: revision(answer.revision),
            propagation: answer.propagation.as_ref().map(convert::propagation),
        })
    }

    async fn reveal(
        &self,
        request: Request<v1::RevealSecretRequest>,
    ) -> Result<v1::RevealSecretResponse, Error> {
        let (caller, right, message) = caller(&self.core, request, &REVEAL)?;
        let call = Call::once(caller, right, "RevealSecret");
        let key = convert::parse("key_id", &message.key_id)?;
        let secret = convert::parse_optional("secret_id", &message.secret_id)?;
        let answer = self.core.reveal_secret(call, key, secret).await?;
        Ok(v1::RevealSecretResponse {
            token: convert::issued(&answer.tokens).pop(),
            revision: revision(answer.revision),
        })
    }

    async fn acknowledge(
        &self,
        request: Request<v1::AcknowledgeSecretRequest>,
    ) -> Result<v1::AcknowledgeSecretResponse, Error> {
        let (caller, right, message) = caller(&self.core, request, &WRITE)?;
        let call = Call::once(caller, right, "AcknowledgeSecret");
        let key = convert::parse("key_id", &message.key_id)?;
        let secret = convert::parse_optional("secret_id", &message.secret_id)?;
        let answer = self.core.acknowledge_secret(call, key, secret).await?;
        Ok(v1::AcknowledgeSecretResponse {
            key: self.key(&answer.value),
            revision: revision(answer.revision),
        })
    }

    async fn lookup(
        &self,
        request: Request<v1::LookupKeyRequest>,
    ) -> Result<v1::LookupKeyResponse, Error> {
        let (caller, _right, message) = caller(&self.core, request, &READ)?;
        let workspace = caller.workspace(&message.workspace, &self.core.default_workspace)?;
        let digest = match (message.token.is_empty(), message.sha256_hex.is_empty()) {
            (false, true) => Token::external(message.token)
                .map_err(|e| Error::invalid_at("token", e))?
                .digest(),
            (true, false) => TokenDigest::from_hex(&message.sha256_hex)
                .map_err(|e| Error::invalid_at("sha256_hex", e))?,
            _ => {
                return Err(Error::invalid(
                    "token",
                    "or `sha256_hex` is required: exactly one of them",
                ));
            }
        };
        let (key, secret) = self.core.lookup_key(&caller, &workspace, &digest).await?;
        Ok(v1::LookupKeyResponse {
            key: self.key(&key),
            secret_id: secret.to_string(),
        })
    }
}

impl KeyAdminService {
    /// Refused here, before a message is read, is who may not import at all.
    fn import(
        &self,
        mut request: Request<Streaming<v1::ImportKeysRequest>>,
    ) -> Result<Answers, Error> {
        let terms: Terms = request
            .extensions_mut()
            .remove()
            .ok_or_else(|| Error::internal("a stream without terms"))?;
        let (caller, _right, messages) = caller(&self.core, request, &[AdminScope::KeysWrite])?;
        let open = self.imports.acquire(&caller.workspace).ok_or_else(busy)?;
        let inbox = Inbox::new(terms, self.stopping.clone(), messages);
        Ok(Session::new(self.core.clone(), caller, inbox, open).answers())
    }
}

impl KeyAdminService {
    async fn leak(
        &self,
        request: Request<v1::ReportLeakRequest>,
    ) -> Result<v1::ReportLeakResponse, Error> {
        let (caller, right, message) = caller(&self.core, request, &[AdminScope::KeysWrite])?;
        let workspace = match message.workspace.as_str() {
            "-" => None,
            named => Some(caller.workspace(named, &self.core.default_workspace)?),
        };
        let leaks = convert::leaks(message.leaks)?;
        let call = Call::once(caller, right, "ReportLeak");
        let report = LeakReport { workspace, leaks };
        let (found, at) = self.core.report_leaks(call, report).await?;
        Ok(v1::ReportLeakResponse {
            results: found.iter().map(|s| convert::leak_result(s)).collect(),
            revision: revision(at),
        })
    }
}

serve! {
    KeyAdmin for KeyAdminService {
        create_key(CreateKeyRequest) -> CreateKeyResponse = create;
        get_key(GetKeyRequest) -> GetKeyResponse = get;
        list_keys(ListKeysRequest) -> ListKeysResponse = list;
        update_key(UpdateKeyRequest) -> UpdateKeyResponse = update;
        delete_key(DeleteKeyRequest) -> DeleteKeyResponse = delete;
        undelete_key(UndeleteKeyRequest) -> UndeleteKeyResponse = undelete;
        regenerate_secret(RegenerateSecretRequest) -> RegenerateSecretResponse = regenerate;
        revoke_secret(RevokeSecretRequest) -> RevokeSecretResponse = revoke;
        reveal_secret(RevealSecretRequest) -> RevealSecretResponse = reveal;
        acknowledge_secret(AcknowledgeSecretRequest) -> AcknowledgeSecretResponse = acknowledge;
        lookup_key(LookupKeyRequest) -> LookupKeyResponse = lookup;
        report_leak(ReportLeakRequest) -> ReportLeakResponse = leak;
    }
    import_keys(Streaming<v1::ImportKeysRequest>) -> ImportKeysStream: Answers = import;
}
