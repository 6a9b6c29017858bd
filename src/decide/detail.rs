//! What a check found, in words: names what was demanded and what is held, and never a credential.

use std::fmt::Display;
use std::net::IpAddr;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::domain::decision::Reason;
use crate::domain::id::WorkspaceId;
use crate::domain::principal::Granted;
use crate::domain::route::Access;
use crate::domain::time::Time;
use crate::domain::token::{self, TokenDigest};
use crate::domain::workspace::{Location, Presentation, UndemandedScopes};
use crate::index::{KeyRecord, PrincipalRecord, SecretRecord, View, WorkspaceRecord};

use super::extract::{Ambiguity, Credential, NotOne};
use super::identify::only_administers;
use super::{Demand, Demands, Identified, Presented, Question, Taken, demand_nothing, holds};

/// How many names are listed before the rest is only counted.
const MAX_NAMES: usize = 16;

pub(super) fn demand(
    question: &Question<'_>,
    taken: Result<Option<Taken<'_>>, Reason>,
    workspace: Option<&WorkspaceRecord>,
) -> String {
    let asked = of_request(question, workspace);
    match taken {
        Err(_) if question.attributes.route.is_empty() => {
            "no route takes the request, or its path can be read in more than one way".to_owned()
        }
        Err(_) => "the route that is named does not exist, or does not take the path".to_owned(),
        Ok(None) => asked,
        Ok(Some(taken)) => {
            let route = taken.route;
            let (all_of, any_of) = (Demand::List(&route.all_of), Demand::List(&route.any_of));
            let who = match route.access {
                Access::Public => "is open to everybody".to_owned(),
                Access::Grandfathered => format!(
                    "is grandfathered: it records only what is wrong with a key, and would demand {}",
                    scopes_of_both(all_of, any_of)
                ),
                Access::KeyRequired => format!("demands {}", scopes_of_both(all_of, any_of)),
            };
            let beside = if question.all_of.is_empty() && question.any_of.is_empty() {
                String::new()
            } else {
                format!("; the request {asked}")
            };
            format!("route `{}` {who}{beside}", taken.route.id)
        }
    }
}

fn scopes_of_both(all_of: Demand<'_>, any_of: Demand<'_>) -> String {
    match (all_of.is_empty(), any_of.is_empty()) {
        (true, true) => "any key".to_owned(),
        (false, true) => scopes_of(all_of),
        (true, false) => format!("one of {}", scopes_of(any_of)),
        (false, false) => format!("{}, and one of {}", scopes_of(all_of), scopes_of(any_of)),
    }
}

fn of_request(question: &Question<'_>, workspace: Option<&WorkspaceRecord>) -> String {
    let (all_of, any_of) = (question.all_of, question.any_of);
    match (all_of.is_empty(), any_of.is_empty()) {
        (false, true) => format!("demands {}", scopes_of(all_of)),
        (true, false) => format!("demands one of {}", scopes_of(any_of)),
        (false, false) => format!(
            "demands {}, and one of {}",
            scopes_of(all_of),
            scopes_of(any_of)
        ),
        (true, true) => {
            let setting = workspace.map_or(UndemandedScopes::Default, |w| w.undemanded_scopes);
            let what = match setting {
                UndemandedScopes::Allow => "which the workspace allows",
                UndemandedScopes::Deny => "which the workspace denies",
                UndemandedScopes::Default if question.must_demand => {
                    "which through Envoy is denied unless the workspace's `undemanded_scopes` is ALLOW"
                }
                UndemandedScopes::Default => {
                    "which `Authorize` allows unless the workspace's `undemanded_scopes` is DENY"
                }
            };
            format!("no scope is demanded, {what}")
        }
    }
}

pub(super) fn credential(
    found: &Result<Credential<'_>, NotOne>,
    question: &Question<'_>,
    locations: &[Location],
) -> String {
    let place = |at: usize| locations.get(at).map_or_else(String::new, location);
    match found {
        Ok(credential) => match (credential.at, question.presented) {
            (Some(at), _) => format!("one, in {}", place(at)),
            (None, Presented::Supposed { .. }) => {
                format!("supposed, as {}", name_of(credential.presentation))
            }
            (None, _) => format!(
                "handed over by the caller, as {}",
                name_of(credential.presentation)
            ),
        },
        Err(NotOne::None { jwt }) => match question.presented {
            Presented::Http { .. } => format!(
                "nothing in {}{}",
                listed(locations.iter().map(location), "or"),
                if *jwt {
                    "; `Authorization` holds a JWT, which is no API key"
                } else {
                    ""
                }
            ),
            _ => "the caller handed over none".to_owned(),
        },
        Err(NotOne::Undecodable { at }) => {
            format!("what is in {} can't be decoded", place(*at))
        }
        Err(NotOne::Ambiguous(ambiguity)) => match *ambiguity {
            Ambiguity::Authorization => "`Authorization` stands there more than once".to_owned(),
            Ambiguity::Repeated(at) => format!("{} stands there more than once", place(at)),
            Ambiguity::Differ(one, other) => {
                format!("{} and {} hold different values", place(one), place(other))
            }
            Ambiguity::Comma(at) => format!("the value in {} has a comma", place(at)),
            Ambiguity::Disguised(at) => format!(
                "a parameter has the name of {} only once it is decoded, or in another case",
                place(at)
            ),
        },
    }
}

pub(super) fn identity(
    identified: &Result<Identified<'_>, Reason>,
    credential: &Credential<'_>,
    question: &Question<'_>,
    view: &View<'_>,
) -> String {
    let workspace = question.workspace;
    let bytes = credential.bytes();
    match identified {
        Ok((key, secret)) => format!("secret `{}` of key `{}`", secret.id(), key.id()),
        Err(_) if view.workspace(workspace).is_none() => {
            format!("there is no workspace `{workspace}`")
        }
        Err(Reason::MalformedCredential) if bytes.len() > token::MAX_LEN => {
            format!("it is longer than {} bytes", token::MAX_LEN)
        }
        Err(Reason::MalformedCredential) if !bytes.iter().copied().all(token::is_token_byte) => {
            "it holds bytes that no token has".to_owned()
        }
        Err(Reason::MalformedCredential) => {
            "it claims a prefix that this workspace issued, and its checksum is wrong: mistyped, cut off or forged"
                .to_owned()
        }
        Err(_) if workspace == WorkspaceId::SYSTEM => {
            format!("keys of `{workspace}` open no data request")
        }
        Err(_) => match hidden(credential, question, view) {
            Some(key) => format!(
                "key `{}` holds only rights over Claviger, or its principal does, which open no data request",
                key.id()
            ),
            None => format!("workspace `{workspace}` has no such secret"),
        },
    }
}

/// The key of the workspace that a credential is, and that opens no data request.
fn hidden<'v>(
    credential: &Credential<'_>,
    question: &Question<'_>,
    view: &'v View<'_>,
) -> Option<&'v KeyRecord> {
    let own = |key: &&KeyRecord| {
        key.workspace.as_str() == question.workspace && only_administers(key, view)
    };
    match question.presented {
        Presented::Supposed { key, .. } => view.key(key).map(|key| &**key).filter(own),
        _ => {
            let tag = view.lookup_key().tag(&TokenDigest::of(credential.bytes()));
            view.holders(&tag).map(|(key, _)| key).find(own)
        }
    }
}

pub(super) fn life(
    key: &KeyRecord,
    secret: &SecretRecord,
    workspace: Option<&WorkspaceRecord>,
    principal: Option<&PrincipalRecord>,
    now: Time,
) -> String {
    let doubt = "is refused until it is known whether a change to it was committed";
    if secret.revoked {
        return "the secret is revoked".to_owned();
    }
    if !secret.is_live(now) {
        let end = secret.retire_time().map(moment).unwrap_or_default();
        return format!("the secret was replaced, and its grace ended at {end}");
    }
    if key.deleted {
        return "the key is deleted".to_owned();
    }
    if !key.enabled {
        return "the key is disabled".to_owned();
    }
    if key.is_closed() {
        return format!("the key {doubt}");
    }
    let expiry = key.expire_time();
    if let Some(end) = expiry.filter(|end| *end <= now) {
        return format!("the key expired at {}", moment(end));
    }
    let Some(workspace) = workspace else {
        return "the workspace is gone".to_owned();
    };
    if !workspace.enabled {
        return format!("workspace `{}` is disabled", workspace.id.as_str());
    }
    if workspace.is_closed() {
        return format!("workspace `{}` {doubt}", workspace.id.as_str());
    }
    if let Some(id) = &key.principal {
        match principal {
            None => return format!("principal `{id}` is gone"),
            Some(principal) if !principal.enabled => {
                return format!("principal `{id}` is disabled");
            }
            Some(_) => {}
        }
    }
    let secret_end = match secret.retire_time() {
        Some(end) => format!("the secret is accepted until {}", moment(end)),
        None => "the secret is in force".to_owned(),
    };
    let key_end = match expiry {
        Some(end) => format!("the key expires at {}", moment(end)),
        None => "the key does not expire".to_owned(),
    };
    format!("{secret_end}, {key_end}")
}

pub(super) fn network(key: &KeyRecord, source_ip: Option<IpAddr>) -> String {
    let nets = &key.allowed_cidrs;
    let all = || listed(nets.iter().map(ToString::to_string), "and");
    match source_ip {
        _ if nets.is_empty() => "the key may be used from anywhere".to_owned(),
        None => format!(
            "the address is not known, and the key may be used only from {}",
            all()
        ),
        Some(ip) => match nets.iter().find(|net| net.contains(&ip)) {
            Some(net) => format!("{ip} is in {net}"),
            None => format!("{ip} is in none of {}", all()),
        },
    }
}

pub(super) fn presentation(
    presentation: Presentation,
    demands: &Demands<'_>,
    granted: Granted<'_>,
    workspace: &WorkspaceRecord,
) -> String {
    let way = name_of(presentation);
    if workspace.presentations.contains(presentation) {
        return format!("{way} is accepted by the workspace");
    }
    let accepted = listed(workspace.presentations.iter().map(name_of), "and");
    let verdict = super::check_presentation(presentation, demands, granted, workspace);
    match verdict {
        Ok(()) => {
            format!(
                "{way} is not accepted by the workspace ({accepted}), but by the scopes demanded"
            )
        }
        Err(_) => format!(
            "{way} is accepted neither by the workspace ({accepted}) nor by the scopes demanded"
        ),
    }
}

pub(super) fn subscription(
    acting: Result<&str, Reason>,
    asked: Result<&str, Reason>,
    key: &KeyRecord,
) -> String {
    let Ok(asked) = asked else {
        return "what the route finds in the request is no subscription, or not the one that is asked for".to_owned();
    };
    let bound = &key.subscriptions;
    let all = || listed(bound.iter().map(|s| quoted(s.as_str())), "and");
    match (acting, asked) {
        (Ok(""), _) if bound.is_empty() => {
            "none is asked for, and the key is bound to none".to_owned()
        }
        (Ok(""), _) => format!("none is asked for, and the key is bound to {}", all()),
        (Ok(acting), "") => format!("`{acting}`, the only one of the key"),
        (Ok(acting), _) if bound.is_empty() => {
            format!("`{acting}`, as asked for; the key is bound to none")
        }
        (Ok(acting), _) => format!("`{acting}`, as asked for"),
        (Err(_), "") => format!("{}: none exists and is enabled", all()),
        (Err(_), asked) if bound.is_empty() || bound.iter().any(|s| s.as_str() == asked) => {
            format!("`{asked}` does not exist or is disabled")
        }
        (Err(_), asked) => format!("`{asked}` is asked for, and the key is bound to {}", all()),
    }
}

pub(super) fn scopes(demands: &Demands<'_>, held: Granted<'_>) -> String {
    if demand_nothing(demands) {
        return "none is demanded".to_owned();
    }
    let held_grants = held.grants();
    let data = held_grants.iter().filter(|grant| !grant.is_admin());
    let has = || match listed(data.map(|grant| quoted(grant.as_str())), "and") {
        none if none.is_empty() => "no scope".to_owned(),
        some => some,
    };
    let missing: Vec<_> = demands
        .iter()
        .flat_map(|(all_of, _)| all_of.iter())
        .filter(|name| !holds(held, name))
        .map(quoted)
        .collect();
    if !missing.is_empty() {
        return format!(
            "the key lacks {}; it holds {}",
            listed(missing.into_iter(), "and"),
            has()
        );
    }
    let unmet = demands
        .iter()
        .map(|(_, any_of)| any_of)
        .find(|any_of| !any_of.is_empty() && !any_of.iter().any(|name| holds(held, name)));
    if let Some(any_of) = unmet {
        let wanted = listed(any_of.iter().map(quoted), "and");
        return format!("the key holds none of {wanted}; it holds {}", has());
    }
    format!("the key holds what is demanded: it holds {}", has())
}

fn scopes_of(demand: Demand<'_>) -> String {
    listed(demand.iter().map(quoted), "and")
}

fn quoted(name: &str) -> String {
    format!("`{name}`")
}

fn location(location: &Location) -> String {
    match location {
        Location::Bearer => "`Authorization: Bearer`".to_owned(),
        Location::Basic => "`Authorization: Basic`".to_owned(),
        Location::Header(name) => format!("header `{name}`"),
        Location::Query(name) => format!("query parameter `{name}`"),
    }
}

const fn name_of(presentation: Presentation) -> &'static str {
    match presentation {
        Presentation::Header => "HEADER",
        Presentation::Bearer => "BEARER",
        Presentation::Basic => "BASIC",
        Presentation::Query => "QUERY",
    }
}

/// `a, b and c`; of a long list only the beginning.
fn listed<T: Display>(names: impl Iterator<Item = T>, word: &str) -> String {
    let names: Vec<String> = names.map(|name| name.to_string()).collect();
    match names.split_at_checked(MAX_NAMES) {
        Some((shown, rest)) if !rest.is_empty() => {
            format!("{} {word} {} more", shown.join(", "), rest.len())
        }
        _ => match names.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, others)) => format!("{} {word} {last}", others.join(", ")),
            None => String::new(),
        },
    }
}

fn moment(time: Time) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(time.micros()) * 1_000)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| "a time out of range".to_owned())
}
