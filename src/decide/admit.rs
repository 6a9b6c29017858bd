//! Which administrator a credential is.

use std::net::IpAddr;

use crate::domain::decision::Reason;
use crate::domain::id::{KeyId, SecretId, WorkspaceId};
use crate::domain::time::Time;
use crate::domain::token::{self, TokenDigest};
use crate::index::{KeyRecord, PrincipalRecord, SecretRecord, View, WorkspaceRecord};

use super::{check_alive, check_network};

/// An administrator, as the index knows it.
#[derive(Debug, Clone, Copy)]
pub struct Admitted<'v> {
    /// The key.
    pub key: &'v KeyRecord,
    /// The secret of it that was presented.
    pub secret: &'v SecretRecord,
    /// Its workspace.
    pub workspace: &'v WorkspaceRecord,
    /// The principal that the key is bound to.
    pub principal: Option<&'v PrincipalRecord>,
}

/// The administrator that a credential is, by the same checks as any request (3 to 5). A token is unique within a
/// workspace, not across: `system` comes first, then the workspace named, then the only one there is. Who is dead does not
/// count against who lives, nor who handed in only a digest against who handed in the token: importing somebody's digest
/// must not lock them out.
pub fn admit<'v>(
    credential: &[u8],
    workspace: Option<&str>,
    source_ip: Option<IpAddr>,
    view: &'v View<'_>,
    now: Time,
) -> Result<Admitted<'v>, Reason> {
    if credential.is_empty() {
        return Err(Reason::NoCredential);
    }
    if credential.len() > token::MAX_LEN || !credential.iter().copied().all(token::is_token_byte) {
        return Err(Reason::MalformedCredential);
    }
    let tag = view.lookup_key().tag(&TokenDigest::of(credential));
    let of = |name: &str| {
        view.holders(&tag)
            .find(|(key, _)| key.workspace.as_str() == name)
    };
    let (key, secret) = match (of(WorkspaceId::SYSTEM), workspace) {
        (Some(found), _) => found,
        (None, Some(name)) => of(name).ok_or(Reason::UnknownKey)?,
        (None, None) => only_best(view.holders(&tag), view, now)?,
    };
    still_admitted(key, secret, source_ip, view, now)
}

type Holder<'v> = (&'v KeyRecord, &'v SecretRecord);

/// The only one of the best kind: live and by token, else live, else any.
fn only_best<'v>(
    holders: impl Iterator<Item = Holder<'v>>,
    view: &View<'_>,
    now: Time,
) -> Result<Holder<'v>, Reason> {
    let stopped = |key: &KeyRecord| {
        key.principal.is_some() && !view.principal_of(key).is_some_and(|p| p.enabled)
    };
    let lives = |(key, secret): &Holder<'_>| {
        secret.is_live(now) && !key.deleted && key.enabled && !stopped(key)
    };
    let kind = |holder: &Holder<'_>| match lives(holder) {
        true if !holder.1.by_digest => 0,
        true => 1,
        false => 2,
    };
    let mut best: Option<(u8, Holder<'v>)> = None;
    let mut alone = true;
    for holder in holders {
        let kind = kind(&holder);
        match best {
            Some((known, _)) if known < kind => {}
            Some((known, _)) if known == kind => alone = false,
            _ => {
                best = Some((kind, holder));
                alone = true;
            }
        }
    }
    match best {
        None => Err(Reason::UnknownKey),
        Some(_) if !alone => Err(Reason::AmbiguousCredential),
        Some((_, holder)) => Ok(holder),
    }
}

/// The same for an administrator who was recognised before: whether the key and the secret are still good.
pub fn readmit<'v>(
    key: KeyId,
    secret: SecretId,
    source_ip: Option<IpAddr>,
    view: &'v View<'_>,
    now: Time,
) -> Result<Admitted<'v>, Reason> {
    let key = view.key(key).ok_or(Reason::UnknownKey)?;
    let secret = key
        .secrets
        .iter()
        .find(|s| s.id() == secret)
        .ok_or(Reason::UnknownKey)?;
    still_admitted(key, secret, source_ip, view, now)
}

fn still_admitted<'v>(
    key: &'v KeyRecord,
    secret: &'v SecretRecord,
    source_ip: Option<IpAddr>,
    view: &'v View<'_>,
    now: Time,
) -> Result<Admitted<'v>, Reason> {
    let workspace = view
        .workspace(key.workspace.as_str())
        .ok_or(Reason::WorkspaceDisabled)?;
    let principal = view.principal_of(key);
    check_alive(key, secret, workspace, principal, now)?;
    check_network(key, source_ip)?;
    Ok(Admitted {
        key,
        secret,
        workspace,
        principal,
    })
}
