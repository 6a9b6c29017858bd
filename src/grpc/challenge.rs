//! What a refused client is told: challenges (RFC 6750, RFC 7617) and problem documents (RFC 9457).
//!
//! Unknown, revoked, expired, disabled look the same from outside: who tries tokens must not learn which of them once
//! worked.

use crate::decide::{Question, Verdict};
use crate::domain::decision::Reason;
use crate::domain::workspace::Presentation;

/// The `WWW-Authenticate` value for a denial; empty: none.
pub(super) fn challenge(verdict: &Verdict<'_>, question: &Question<'_>) -> String {
    let realm = "Bearer realm=\"claviger\"";
    let basic = verdict
        .workspace
        .is_some_and(|w| w.presentations.contains(Presentation::Basic));
    let basic = if basic {
        ", Basic realm=\"claviger\", charset=\"UTF-8\""
    } else {
        ""
    };
    match (verdict.reason, verdict.reason.http_status()) {
        (Reason::NoCredential, _) => format!("{realm}{basic}"),
        // The key is good: what is missing is somebody else's, and for a token in `Authorization` that is its challenge.
        (Reason::FactorMissing, _) => realm.to_owned(),
        (Reason::AmbiguousCredential, _) => format!("{realm}, error=\"invalid_request\""),
        (_, 401) => format!("{realm}, error=\"invalid_token\"{basic}"),
        (Reason::InsufficientScope, _) => {
            let of_route = verdict.route().map(|route| &route.settings);
            let of_route =
                of_route.map_or([].iter().chain(&[]), |s| s.all_of.iter().chain(&s.any_of));
            let scopes: Vec<_> = question
                .all_of
                .iter()
                .chain(question.any_of.iter())
                .chain(of_route.map(String::as_str))
                .filter(is_scope)
                .collect();
            format!(
                "{realm}, error=\"insufficient_scope\", scope=\"{}\"",
                scopes.join(" ")
            )
        }
        _ => String::new(),
    }
}

/// A scope that can stand in a header. What an operator configured is not checked before it comes here.
fn is_scope(name: &&str) -> bool {
    crate::domain::scope::check_name(name).is_ok()
}

/// The title of a problem document: what a client may know.
pub(super) fn title(reason: Reason) -> &'static str {
    match reason {
        Reason::Ok => "ok",
        Reason::NoCredential => "an API key is required",
        Reason::AmbiguousCredential => "send exactly one API key, in one place",
        Reason::MalformedCredential
        | Reason::UnknownKey
        | Reason::SecretRevoked
        | Reason::KeyDeleted
        | Reason::KeyDisabled
        | Reason::KeyExpired
        | Reason::WorkspaceDisabled
        | Reason::PrincipalDisabled => "invalid key",
        Reason::RouteUnknown => "there is nothing here that is open to this request",
        Reason::FactorMissing => "something that is needed beside the API key is missing",
        Reason::NothingDemanded => "this is not open to API keys",
        Reason::IpNotAllowed | Reason::IpUnknown => "the key may not be used from this address",
        Reason::PresentationNotAllowed => "the key may not be sent this way",
        Reason::SubscriptionNotAllowed => "the key is not valid for this subscription",
        Reason::InsufficientScope => "the key lacks a scope that is needed",
    }
}

/// The stable type of a problem document: as coarse as the title.
pub(super) fn problem_type(reason: Reason) -> &'static str {
    match reason.http_status() {
        400 => "ambiguous-credential",
        401 if reason == Reason::NoCredential => "no-credential",
        401 if reason == Reason::FactorMissing => "factor-missing",
        401 => "invalid-key",
        _ => match reason {
            Reason::IpNotAllowed | Reason::IpUnknown => "address-not-allowed",
            Reason::PresentationNotAllowed => "presentation-not-allowed",
            Reason::SubscriptionNotAllowed => "subscription-not-allowed",
            Reason::InsufficientScope => "insufficient-scope",
            Reason::RouteUnknown => "route-unknown",
            _ => "not-open",
        },
    }
}

/// The problem document for a denial.
pub(super) fn problem(reason: Reason) -> String {
    // Every part is one of ours, and needs no escaping.
    format!(
        "{{\"type\":\"urn:claviger:{}\",\"title\":\"{}\",\"status\":{}}}",
        problem_type(reason),
        title(reason),
        reason.http_status()
    )
}
