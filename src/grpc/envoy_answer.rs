//! What Envoy is answered: one constructor for allows, one for denials.

use prost_types::value::Kind;
use prost_types::{Struct, Value};

use crate::decide::{Question, Verdict};
use crate::domain::decision::Reason;
use crate::domain::revision::Revision;
use crate::domain::workspace::Location;
use crate::index::RouteRecord;

use super::challenge;
use super::envoy::{
    CheckResponse, DeniedHttpResponse, HeaderValueOption, HttpStatus, OkHttpResponse, RpcStatus,
};

/// The identity headers. On every allow each is overwritten or removed: what a client sends under these names never
/// arrives (OWASP ASVS 4.1.3).
const IDENTITY: [&str; 5] = [
    "x-claviger-key-id",
    "x-claviger-workspace",
    "x-claviger-principal",
    "x-claviger-subscription",
    "x-claviger-scopes",
];

/// Their spellings with underscores, which many a server reads as the same name.
const UNDERSCORED: [&str; 19] = [
    "x_claviger-key-id",
    "x-claviger_key-id",
    "x-claviger-key_id",
    "x_claviger_key-id",
    "x_claviger-key_id",
    "x-claviger_key_id",
    "x_claviger_key_id",
    "x_claviger-workspace",
    "x-claviger_workspace",
    "x_claviger_workspace",
    "x_claviger-principal",
    "x-claviger_principal",
    "x_claviger_principal",
    "x_claviger-subscription",
    "x-claviger_subscription",
    "x_claviger_subscription",
    "x_claviger-scopes",
    "x-claviger_scopes",
    "x_claviger_scopes",
];

/// The answer to an allowed request: the credential taken off, the identity put on.
pub(super) fn allow(
    verdict: &Verdict<'_>,
    question: &Question<'_>,
    revision: Revision,
) -> CheckResponse {
    let key = verdict.identity().map(|(key, _)| key);
    let scopes: Vec<_> = verdict.scopes().map(|s| s.as_str()).collect();
    let values = [
        key.map(|k| k.id().to_string()).unwrap_or_default(),
        question.workspace.to_owned(),
        verdict.principal_id().to_owned(),
        verdict.subscription.to_owned(),
        scopes.join(" "),
    ];
    let mut headers = Vec::with_capacity(IDENTITY.len());
    let mut headers_to_remove: Vec<String> =
        UNDERSCORED.iter().map(|name| (*name).to_owned()).collect();
    for (name, value) in IDENTITY.into_iter().zip(values) {
        // No name may stand in both lists: Envoy would keep what the client sent.
        if value.is_empty() {
            headers_to_remove.push(name.to_owned());
        } else {
            headers.push(HeaderValueOption::overwrite(name, value));
        }
    }
    let mut query_parameters_to_remove = Vec::new();
    // Where the route has places of its own, the workspace's are cleared all the same: a key in the wrong place is a key.
    let dedicated = verdict.workspace.map(|w| &*w.locations).unwrap_or_default();
    for location in dedicated.iter().chain(verdict.locations()) {
        if let Location::Header(name) = location
            && !headers_to_remove.contains(name)
        {
            headers_to_remove.push(name.clone());
        }
    }
    let of_factors = verdict.route().map(RouteRecord::hidden_headers);
    headers_to_remove.extend(of_factors.into_iter().flatten().map(str::to_owned));
    for (i, location) in verdict.locations().iter().enumerate() {
        match location {
            // Asked to remove one, Envoy rewrites the whole query: only where it was there.
            Location::Query(name) if verdict.carried.queries & (1 << (i & 31)) != 0 => {
                query_parameters_to_remove.push(name.clone())
            }
            Location::Header(_) | Location::Query(_) | Location::Bearer | Location::Basic => {}
        }
    }
    if verdict.carried.authorization {
        headers_to_remove.push("authorization".to_owned());
    }
    CheckResponse {
        status: Some(RpcStatus { code: 0 }),
        ok_response: Some(OkHttpResponse {
            headers,
            headers_to_remove,
            query_parameters_to_remove,
        }),
        denied_response: None,
        dynamic_metadata: Some(metadata(verdict, question, revision)),
    }
}

/// The answer to a denied request.
pub(super) fn deny(
    verdict: &Verdict<'_>,
    question: &Question<'_>,
    revision: Revision,
    grpc: bool,
) -> CheckResponse {
    let challenge = challenge::challenge(verdict, question);
    let headers = (!challenge.is_empty())
        .then(|| HeaderValueOption::overwrite("www-authenticate", challenge));
    let text = challenge::title(verdict.reason);
    let body = if grpc {
        text.to_owned()
    } else {
        challenge::problem(verdict.reason)
    };
    let mut denial = refuse(
        verdict.reason.http_status(),
        headers.into_iter().collect(),
        body,
        grpc,
    );
    denial.dynamic_metadata = Some(metadata(verdict, question, revision));
    denial
}

/// The answer to what can't be read: the client's doing, or a fault of the configuration.
pub(super) fn fault(grpc: bool) -> CheckResponse {
    let body = if grpc {
        "the request can't be authorized".to_owned()
    } else {
        "{\"type\":\"urn:claviger:unreadable-request\",\"title\":\"the request can't be authorized\",\"status\":403}".to_owned()
    };
    refuse(403, Vec::new(), body, grpc)
}

/// The answer to more than is taken at once. Decided before the request is read, so it serves every kind of caller.
pub(super) fn overloaded() -> CheckResponse {
    let retry = HeaderValueOption::overwrite("retry-after", "1".to_owned());
    refuse(
        503,
        vec![retry],
        "too many requests at once; try again soon".to_owned(),
        true,
    )
}

/// The one constructor of denials: its `status.code` is never 0.
fn refuse(
    http_status: u16,
    mut headers: Vec<HeaderValueOption>,
    body: String,
    plain: bool,
) -> CheckResponse {
    // Envoy maps 400 to INTERNAL for gRPC callers: what is wrong with their credential is told as 401.
    let http_status = if plain && http_status == 400 {
        401
    } else {
        http_status
    };
    let code = match http_status {
        400 => 3,
        401 => 16,
        503 => 14,
        _ => 7,
    };
    let content_type = if plain {
        "text/plain"
    } else {
        "application/problem+json"
    };
    headers.push(HeaderValueOption::overwrite(
        "content-type",
        content_type.to_owned(),
    ));
    headers.push(HeaderValueOption::overwrite(
        "cache-control",
        "no-store".to_owned(),
    ));
    CheckResponse {
        status: Some(RpcStatus { code }),
        denied_response: Some(DeniedHttpResponse {
            status: Some(HttpStatus {
                code: i32::from(http_status),
            }),
            headers,
            body,
        }),
        ok_response: None,
        dynamic_metadata: None,
    }
}

/// What Envoy's later filters and access logs may read: the true reason included, which the client is not told.
fn metadata(verdict: &Verdict<'_>, question: &Question<'_>, revision: Revision) -> Struct {
    let text = |text: String| Value {
        kind: Some(Kind::StringValue(text)),
    };
    let key = verdict.key.map(|(key, _)| key);
    let decision = if verdict.is_allow() { "ALLOW" } else { "DENY" };
    let mut fields = std::collections::BTreeMap::from([
        ("decision".to_owned(), text(decision.to_owned())),
        (
            "reason".to_owned(),
            text(verdict.reason.as_str().to_owned()),
        ),
        ("workspace".to_owned(), text(question.workspace.to_owned())),
        // A string: a number in a Struct is a double, and loses digits.
        ("revision".to_owned(), text(revision.to_string())),
    ]);
    if let Some(key) = key {
        fields.insert("key_id".to_owned(), text(key.id().to_string()));
        fields.insert(
            "off_the_record".to_owned(),
            Value {
                kind: Some(Kind::BoolValue(key.off_the_record)),
            },
        );
    }
    let named = [
        ("subscription", verdict.subscription),
        ("principal", verdict.principal_id()),
    ];
    for (name, value) in named.into_iter().filter(|(_, value)| !value.is_empty()) {
        fields.insert(name.to_owned(), text(value.to_owned()));
    }
    if let Some(route) = verdict.route() {
        fields.insert("route".to_owned(), text(route.id.to_string()));
    }
    if let Some(reason) = verdict.grandfathered {
        fields.insert("grandfathered".to_owned(), text(reason.as_str().to_owned()));
    }
    let shadowed: Vec<_> = verdict.shadowed.iter().map(Reason::as_str).collect();
    if !shadowed.is_empty() {
        fields.insert("shadowed".to_owned(), text(shadowed.join(" ")));
    }
    Struct { fields }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_underscored_spellings_are_all_there_are() {
        let mut all = Vec::new();
        for name in IDENTITY {
            let places: Vec<_> = name.match_indices('-').map(|(at, _)| at).collect();
            for mask in 1..(1_u32 << places.len()) {
                let mut spelling = name.as_bytes().to_vec();
                for (i, at) in places.iter().enumerate() {
                    if mask & (1 << i) != 0 {
                        spelling[*at] = b'_';
                    }
                }
                all.push(String::from_utf8(spelling).unwrap());
            }
        }
        all.sort();
        let mut listed: Vec<_> = UNDERSCORED.iter().map(|s| (*s).to_owned()).collect();
        listed.sort();
        assert_eq!(listed, all);
    }

    #[test]
    fn every_denial_has_a_code_that_is_not_zero() {
        for reason in Reason::ALL.into_iter().filter(|r| *r != Reason::Ok) {
            for plain in [false, true] {
                let denial = refuse(reason.http_status(), Vec::new(), String::new(), plain);
                assert_ne!(denial.status.unwrap().code, 0, "{reason:?}");
                assert!(denial.denied_response.is_some() && denial.ok_response.is_none());
            }
        }
        for denial in [fault(false), fault(true), overloaded()] {
            assert_ne!(denial.status.unwrap().code, 0);
        }
    }
}
