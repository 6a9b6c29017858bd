//! Whose a request is: the credential it carries, and the key that this opens.

use std::borrow::Cow;

use crate::domain::decision::Reason;
use crate::domain::id::{KeyId, SecretId, WorkspaceId};
use crate::domain::time::Time;
use crate::domain::token::{self, TokenDigest};
use crate::domain::workspace::Location;
use crate::index::{KeyRecord, SecretRecord, View};

use super::extract::{Credential, NotOne, extract};
use super::{Presented, Question, Verdict};

pub(super) fn find_credential<'q>(
    question: &Question<'q>,
    verdict: &mut Verdict<'q>,
) -> Result<Credential<'q>, NotOne> {
    match question.presented {
        Presented::Token([], _) => Err(NotOne::None { jwt: false }),
        Presented::Token(bytes, presentation) => Ok(Credential::plain(bytes, presentation)),
        Presented::Supposed { presentation, .. } => Ok(Credential::plain(b"", presentation)),
        Presented::Http { headers, path } => {
            let places = locations(verdict.locations());
            let authorization = verdict.authorization();
            extract(
                headers,
                path,
                (&places, authorization),
                &mut verdict.carried,
            )
        }
    }
}

/// Where a credential may be; in a workspace that does not exist, where it may be by default.
pub(super) fn locations(known: &[Location]) -> Cow<'_, [Location]> {
    match known {
        // An unknown workspace is a fault of configuration: that this allocates does not matter.
        [] => Cow::Owned(Location::defaults()),
        known => Cow::Borrowed(known),
    }
}

/// A key, and the secret of it that was presented.
pub(super) type Identified<'v> = (&'v KeyRecord, &'v SecretRecord);

/// Finds whose secret a credential is. Look-up comes before the verdict on its shape: a foreign token that happens to look
/// like ours works once it is imported, and every credential up to the longest costs the same.
pub(super) fn identify<'v>(
    credential: &Credential<'_>,
    question: &Question<'_>,
    view: &'v View<'_>,
    now: Time,
) -> Result<Identified<'v>, Reason> {
    let workspace = question.workspace;
    if let Presented::Supposed { key, secret, .. } = question.presented {
        return supposed(key, secret, view, now)
            .filter(|(key, _)| opens_data(key, workspace, view))
            .ok_or(Reason::UnknownKey);
    }
    look_up(credential.bytes(), workspace, view)
}

/// The same of a credential that is at hand.
pub(super) fn look_up<'v>(
    credential: &[u8],
    workspace: &str,
    view: &'v View<'_>,
) -> Result<Identified<'v>, Reason> {
    if credential.len() > token::MAX_LEN {
        return Err(Reason::MalformedCredential);
    }
    let tag = view.lookup_key().tag(&TokenDigest::of(credential));
    match view
        .holders(&tag)
        .find(|(key, _)| opens_data(key, workspace, view))
    {
        Some(found) => Ok(found),
        None if !credential.iter().copied().all(token::is_token_byte) => {
            Err(Reason::MalformedCredential)
        }
        None if is_forged(credential, workspace, view) => Err(Reason::MalformedCredential),
        None if view.workspace(workspace).is_none() => Err(Reason::WorkspaceDisabled),
        None => Err(Reason::UnknownKey),
    }
}

/// Whether a key is one for data requests in this workspace.
fn opens_data(key: &KeyRecord, workspace: &str, view: &View<'_>) -> bool {
    key.workspace.as_str() == workspace
        && !only_administers(key, view)
        && workspace != WorkspaceId::SYSTEM
}

/// Whether a key has rights over Claviger and nothing else, or its principal has: no key to data requests.
pub(super) fn only_administers(key: &KeyRecord, view: &View<'_>) -> bool {
    key.admin_only || view.principal_of(key).is_some_and(|p| p.admin_only)
}

/// A key by id, and a secret of it: the one named, else one that is live, else any.
fn supposed<'v>(
    key: KeyId,
    secret: Option<SecretId>,
    view: &'v View<'_>,
    now: Time,
) -> Option<Identified<'v>> {
    let key = &**view.key(key)?;
    let mut secrets = key.secrets.iter();
    let secret = match secret {
        Some(id) => secrets.find(|s| s.id() == id),
        None => secrets.find(|s| s.is_live(now)).or(key.secrets.first()),
    };
    Some((key, secret?))
}

/// Whether a credential claims a prefix that this workspace issued, and has a wrong checksum. A prefix has at most one
/// underscore, and the longer reading comes first.
fn is_forged(credential: &[u8], workspace: &str, view: &View<'_>) -> bool {
    let Ok(text) = std::str::from_utf8(credential) else {
        return false;
    };
    let issued = text
        .match_indices('_')
        .take(2)
        .filter_map(|(at, _)| text.get(..at))
        .filter(|prefix| view.has_issued(workspace, prefix))
        .last();
    issued.is_some_and(|prefix| token::is_forged(credential, prefix))
}
