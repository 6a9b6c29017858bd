//! Where a credential may be in a request, read naively.

use base64::Engine as _;
use claviger::domain::decision::Reason;
use claviger::domain::route::{Factor, Route};
use claviger::domain::workspace::{Location, Presentation, WorkspaceSettings};

/// Check 2: what each location holds, and whether that is one credential.
pub(crate) fn extract(
    settings: &WorkspaceSettings,
    route: Option<&Route>,
    headers: &[(Vec<u8>, Vec<u8>)],
    path: &[u8],
) -> Result<(Vec<u8>, Presentation), Reason> {
    let defaults = Location::defaults();
    let of_workspace = if settings.locations.is_empty() {
        &defaults
    } else {
        &settings.locations
    };
    let of_route = route.map(|r| &r.settings.locations);
    let locations = of_route
        .filter(|own| !own.is_empty())
        .unwrap_or(of_workspace);
    let any_shape = of_route.is_some_and(|own| own.contains(&Location::Bearer));
    // Where a JWT is demanded it is in `Authorization`.
    let without;
    let jwt = |f: &Factor| matches!(f, Factor::Jwt { .. });
    let locations = if route.is_some_and(|r| r.settings.factors.iter().any(jwt)) {
        let others = locations
            .iter()
            .filter(|l| !matches!(l, Location::Bearer | Location::Basic));
        without = others.cloned().collect();
        &without
    } else {
        locations
    };
    let mut found: Vec<(Vec<u8>, Presentation)> = Vec::new();
    // Both schemes share one header, and it may stand there once.
    let schemes = locations
        .iter()
        .any(|l| matches!(l, Location::Bearer | Location::Basic));
    let authorization = named(headers, b"authorization");
    let mut ambiguous = schemes && authorization.len() > 1;
    if locations.contains(&Location::Basic) {
        let joined =
            |v: &Vec<u8>| v.to_ascii_lowercase().starts_with(b"basic ") && v.contains(&b',');
        ambiguous |= authorization.iter().any(joined);
    }
    for location in locations {
        let (values, presentation) = match location {
            Location::Bearer => (scheme(headers, b"bearer", Some), Presentation::Bearer),
            Location::Basic => (scheme(headers, b"basic", basic_token), Presentation::Basic),
            Location::Header(name) => (named(headers, name.as_bytes()), Presentation::Header),
            Location::Query(name) => {
                let (values, disguised) = query(path, name);
                ambiguous |= disguised;
                (values, Presentation::Query)
            }
        };
        ambiguous |= values.len() > 1;
        // What joins repeated headers; within base64 nothing is joined.
        ambiguous |=
            presentation != Presentation::Basic && values.iter().any(|v| v.contains(&b','));
        let bearer_jwt = |v: &Vec<u8>| {
            presentation == Presentation::Bearer
                && !any_shape
                && v.iter().filter(|b| **b == b'.').count() == 2
        };
        found.extend(
            values
                .into_iter()
                .filter(|v| !v.is_empty() && !bearer_jwt(v))
                .map(|v| (v, presentation)),
        );
    }
    ambiguous |= found.iter().any(|(token, _)| *token != found[0].0);
    if ambiguous {
        return Err(Reason::AmbiguousCredential);
    }
    found.into_iter().next().ok_or(Reason::NoCredential)
}

fn named(headers: &[(Vec<u8>, Vec<u8>)], name: &[u8]) -> Vec<Vec<u8>> {
    let same = headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
    same.map(|(_, value)| value.trim_ascii().to_vec()).collect()
}

/// What follows a scheme in `Authorization`, read by `read`.
fn scheme(
    headers: &[(Vec<u8>, Vec<u8>)],
    scheme: &[u8],
    read: fn(Vec<u8>) -> Option<Vec<u8>>,
) -> Vec<Vec<u8>> {
    let values = named(headers, b"authorization");
    let of_scheme = values.iter().filter_map(|value| {
        let (first, rest) = value.split_at(value.iter().position(|b| *b == b' ')?);
        first
            .eq_ignore_ascii_case(scheme)
            .then(|| rest.trim_ascii().to_vec())
    });
    of_scheme.filter_map(read).collect()
}

/// Stands for what can't be decoded: no token has such a byte, so it is malformed.
const UNDECODABLE: &[u8] = &[0];

/// The password, or the user name where the password is empty.
fn basic_token(encoded: Vec<u8>) -> Option<Vec<u8>> {
    if encoded.is_empty() {
        return None;
    }
    let pair = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .unwrap_or_default();
    let Some(colon) = pair.iter().position(|b| *b == b':') else {
        return Some(UNDECODABLE.to_vec());
    };
    let (user, password) = (&pair[..colon], &pair[colon + 1..]);
    Some(if password.is_empty() { user } else { password }.to_vec())
}

/// The values of a parameter, and whether another name turns into this one by decoding or in another case.
fn query(path: &[u8], name: &str) -> (Vec<Vec<u8>>, bool) {
    let Some(at) = path.iter().position(|b| *b == b'?') else {
        return (Vec::new(), false);
    };
    let (mut values, mut disguised) = (Vec::new(), false);
    for pair in path[at + 1..].split(|b| *b == b'&') {
        let equals = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
        let (raw, value) = (&pair[..equals], pair.get(equals + 1..).unwrap_or(&[]));
        if raw == name.as_bytes() {
            values.push(percent_decoded(value).unwrap_or(UNDECODABLE.to_vec()));
        } else if percent_decoded(raw).is_some_and(|raw| raw.eq_ignore_ascii_case(name.as_bytes()))
        {
            disguised = true;
        }
    }
    (values, disguised)
}

/// None: a broken escape.
pub(super) fn percent_decoded(raw: &[u8]) -> Option<Vec<u8>> {
    let digit = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let (mut out, mut at) = (Vec::new(), 0);
    while at < raw.len() {
        if raw[at] == b'%' {
            let (high, low) = (digit(raw.get(at + 1))?, digit(raw.get(at + 2))?);
            out.push((high * 16 + low) as u8);
            at += 3;
        } else {
            out.push(raw[at]);
            at += 1;
        }
    }
    Some(out)
}
