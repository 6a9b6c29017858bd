//! Taking the credential out of a request: exactly one, or none, or a refusal to choose.
//!
//! Proxies and servers differ on which of two values counts, and how far a name is decoded (CVE-2021-32777,
//! CVE-2026-26308). So nothing is ever chosen: what parties could read differently is ambiguous.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::domain::decision::Reason;
use crate::domain::workspace::{Location, Presentation};

use super::routes::Authorization;

/// The headers of a request: names in any case, repeated ones repeated.
pub trait Headers {
    /// Calls `each` with every header's name and value.
    fn for_each<'h>(&'h self, each: &mut dyn FnMut(&'h [u8], &'h [u8]));
}

/// What carried a credential, so that it can be taken off the request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    /// `Authorization` did.
    pub authorization: bool,
    /// These query parameters did: bit i is set for the i-th of the locations that count.
    pub queries: u32,
}

/// Why a request carries no credential that could be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotOne {
    /// It carries none.
    None {
        /// `Authorization` holds a JWT, which is passed over.
        jwt: bool,
    },
    /// Parties could read it differently.
    Ambiguous(Ambiguity),
    /// It can't be decoded.
    Undecodable {
        /// The place of its location in the list.
        at: usize,
    },
}

impl From<NotOne> for Reason {
    fn from(fault: NotOne) -> Self {
        match fault {
            NotOne::None { .. } => Self::NoCredential,
            NotOne::Ambiguous(_) => Self::AmbiguousCredential,
            NotOne::Undecodable { .. } => Self::MalformedCredential,
        }
    }
}

/// What parties could read differently; places are those of locations in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ambiguity {
    /// `Authorization` stands there more than once.
    Authorization,
    /// One location does.
    Repeated(usize),
    /// Two locations hold different values.
    Differ(usize, usize),
    /// A value has a comma, which joins repeated headers.
    Comma(usize),
    /// A parameter has this one's name only once it is decoded, or in another case.
    Disguised(usize),
}

/// A credential as it came.
pub(super) struct Credential<'r> {
    value: Value<'r>,
    pub(super) presentation: Presentation,
    /// The place of its location in the list, where it was taken from a request.
    pub(super) at: Option<usize>,
}

impl<'r> Credential<'r> {
    pub(super) fn plain(bytes: &'r [u8], presentation: Presentation) -> Self {
        Self {
            value: Value::Borrowed(bytes),
            presentation,
            at: None,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.value.bytes().unwrap_or_default()
    }
}

/// What stands in a request for a credential.
pub(super) enum Value<'r> {
    /// As it stands in the request.
    Borrowed(&'r [u8]),
    /// Decoded; wiped when dropped.
    Decoded(Zeroizing<Vec<u8>>),
    /// It can't be decoded.
    Undecodable,
}

impl Value<'_> {
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Borrowed(bytes) => Some(bytes),
            Self::Decoded(bytes) => Some(bytes),
            Self::Undecodable => None,
        }
    }
}

/// Takes the credential out of a request, wherever the locations allow one.
pub(super) fn extract<'r>(
    headers: &'r dyn Headers,
    path: &'r [u8],
    (locations, authorization): (&[Location], Authorization),
    carried: &mut Carried,
) -> Result<Credential<'r>, NotOne> {
    let mut search = Search {
        locations,
        authorization,
        seen: 0,
        authorizations: 0,
        jwt: false,
        found: None,
        ambiguity: None,
        carried,
    };
    headers.for_each(&mut |name, value| search.header(name, value));
    if let Some(at) = path.iter().position(|b| *b == b'?') {
        let query = path.get(at + 1..).unwrap_or_default();
        for parameter in query.split(|b| *b == b'&') {
            search.parameter(parameter);
        }
    }
    match (search.ambiguity, search.found) {
        (Some(ambiguity), _) => Err(NotOne::Ambiguous(ambiguity)),
        (None, None) => Err(NotOne::None { jwt: search.jwt }),
        (None, Some((at, credential))) if credential.value.bytes().is_none() => {
            Err(NotOne::Undecodable { at })
        }
        (None, Some((_, credential))) => Ok(credential),
    }
}

struct Search<'l, 'r, 'c> {
    locations: &'l [Location],
    authorization: Authorization,
    /// Bit i: the i-th location was there, with a value or without.
    seen: u32,
    authorizations: u32,
    jwt: bool,
    /// The credential, and the place of its location in the list.
    found: Option<(usize, Credential<'r>)>,
    /// The first that was met.
    ambiguity: Option<Ambiguity>,
    carried: &'c mut Carried,
}

impl<'r> Search<'_, 'r, '_> {
    fn header(&mut self, name: &'r [u8], value: &'r [u8]) {
        let value = value.trim_ascii();
        if name.eq_ignore_ascii_case(b"authorization") {
            self.authorization(value);
            return;
        }
        let is_it = |l: &Location| matches!(l, Location::Header(own) if name.eq_ignore_ascii_case(own.as_bytes()));
        if let Some(at) = self.locations.iter().position(is_it) {
            self.see(at);
            self.candidate(at, Value::Borrowed(value), Presentation::Header);
        }
    }

    fn authorization(&mut self, value: &'r [u8]) {
        let bearer = self.locations.iter().position(|l| *l == Location::Bearer);
        let basic = self.locations.iter().position(|l| *l == Location::Basic);
        let none = bearer.is_none() && basic.is_none();
        if none || self.authorization == Authorization::Never {
            return;
        }
        self.authorizations += 1;
        if self.authorizations > 1 {
            self.doubt(Ambiguity::Authorization);
        }
        let end = value
            .iter()
            .position(|b| matches!(b, b' ' | b'\t'))
            .unwrap_or(value.len());
        let (scheme, rest) = value.split_at_checked(end).unwrap_or((value, &[]));
        let rest = rest.trim_ascii();
        if rest.is_empty() {
            return;
        }
        if let Some(at) = bearer
            && scheme.eq_ignore_ascii_case(b"bearer")
        {
            // The shape of a JWT: two dots.
            let jwt = rest.iter().filter(|b| **b == b'.').count() == 2 && !rest.contains(&b',');
            let jwt = jwt && self.authorization != Authorization::AnyShape;
            self.jwt |= jwt;
            if !jwt {
                self.carried.authorization = true;
                self.candidate(at, Value::Borrowed(rest), Presentation::Bearer);
            }
        } else if let Some(at) = basic
            && scheme.eq_ignore_ascii_case(b"basic")
        {
            self.carried.authorization = true;
            if rest.contains(&b',') {
                self.doubt(Ambiguity::Comma(at));
            } else {
                self.candidate(at, decode_basic(rest), Presentation::Basic);
            }
        }
    }

    fn parameter(&mut self, parameter: &'r [u8]) {
        let end = parameter
            .iter()
            .position(|b| *b == b'=')
            .unwrap_or(parameter.len());
        let (name, value) = parameter.split_at_checked(end).unwrap_or((parameter, &[]));
        let value = value.strip_prefix(b"=").unwrap_or(value);
        for (at, location) in self.locations.iter().enumerate() {
            let Location::Query(own) = location else {
                continue;
            };
            if name == own.as_bytes() {
                self.see(at);
                self.carried.queries |= bit(at);
                self.candidate(at, decode_percent(value), Presentation::Query);
            } else if decodes_to(name, own.as_bytes()) {
                self.doubt(Ambiguity::Disguised(at));
            }
        }
    }

    fn see(&mut self, at: usize) {
        if self.seen & bit(at) != 0 {
            self.doubt(Ambiguity::Repeated(at));
        }
        self.seen |= bit(at);
    }

    fn doubt(&mut self, ambiguity: Ambiguity) {
        self.ambiguity.get_or_insert(ambiguity);
    }

    fn candidate(&mut self, at: usize, value: Value<'r>, presentation: Presentation) {
        match value.bytes() {
            Some([]) => return,
            // What joins repeated headers; no token has one.
            Some(bytes) if bytes.contains(&b',') && presentation != Presentation::Basic => {
                self.doubt(Ambiguity::Comma(at));
            }
            _ => {}
        }
        let candidate = Credential {
            value,
            presentation,
            at: Some(at),
        };
        match &self.found {
            None => self.found = Some((at, candidate)),
            Some((first, other)) if other.value.bytes() != candidate.value.bytes() => {
                let first = *first;
                self.doubt(Ambiguity::Differ(first, at));
            }
            Some((first, _)) if *first <= at => {}
            Some(_) => self.found = Some((at, candidate)),
        }
    }
}

const fn bit(at: usize) -> u32 {
    // A workspace has at most 16 locations.
    1 << (at & 31)
}

/// The password of `Basic` credentials (RFC 7617), or the user name where it is empty.
pub(super) fn decode_basic<'r>(text: &[u8]) -> Value<'r> {
    let Ok(decoded) = STANDARD.decode(text).map(Zeroizing::new) else {
        return Value::Undecodable;
    };
    let Some(colon) = decoded.iter().position(|b| *b == b':') else {
        return Value::Undecodable;
    };
    let (user, password) = decoded.split_at_checked(colon).unwrap_or_default();
    let password = password.strip_prefix(b":").unwrap_or(password);
    let credential = if password.is_empty() { user } else { password };
    Value::Decoded(Zeroizing::new(credential.to_vec()))
}

/// The value of a query parameter: percent-decoded, `+` stays `+`.
pub(super) fn decode_percent(value: &[u8]) -> Value<'_> {
    if !value.contains(&b'%') {
        return Value::Borrowed(value);
    }
    let mut decoded = Zeroizing::new(Vec::with_capacity(value.len()));
    for byte in PercentDecoded(value) {
        match byte {
            Some(byte) => decoded.push(byte),
            None => return Value::Undecodable,
        }
    }
    Value::Decoded(decoded)
}

/// Whether a raw parameter name, not equal to `own`, equals it once decoded or in another case.
fn decodes_to(name: &[u8], own: &[u8]) -> bool {
    let mut decoded = PercentDecoded(name);
    own.iter()
        .all(|own| matches!(decoded.next(), Some(Some(b)) if b.eq_ignore_ascii_case(own)))
        && decoded.next().is_none()
}

/// The bytes of percent-encoded text; `None` within: a broken escape.
struct PercentDecoded<'a>(&'a [u8]);

impl Iterator for PercentDecoded<'_> {
    type Item = Option<u8>;

    fn next(&mut self) -> Option<Option<u8>> {
        match self.0 {
            [] => None,
            [b'%', rest @ ..] => {
                let digit = |b: &u8| {
                    char::from(*b)
                        .to_digit(16)
                        .and_then(|d| u8::try_from(d).ok())
                };
                let [high, low, rest @ ..] = rest else {
                    self.0 = &[];
                    return Some(None);
                };
                self.0 = rest;
                Some(
                    digit(high)
                        .zip(digit(low))
                        .map(|(high, low)| high << 4 | low),
                )
            }
            [byte, rest @ ..] => {
                self.0 = rest;
                Some(Some(*byte))
            }
        }
    }
}

#[cfg(test)]
mod tests;
