//! Where a request may carry its credential: what Claviger is told of it, and what is taken off before it goes on.
//!
//! Claviger is told nothing that is not taken off again, so whatever it accepted as a credential never reaches the service.

use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::grpc::proto::v1;

/// What the identity headers begin with that Claviger has a proxy set.
const IDENTITY: &str = "x-claviger-";

/// The places.
#[derive(Debug, Clone)]
pub(super) struct Locations {
    pub(super) headers: Vec<HeaderName>,
    /// Names of query parameters, as they are written.
    pub(super) queries: Vec<String>,
}

impl Default for Locations {
    /// Those of a new workspace.
    fn default() -> Self {
        Self {
            headers: vec![
                AUTHORIZATION,
                HeaderName::from_static("x-api-key"),
                HeaderName::from_static("api-key"),
                HeaderName::from_static("apikey"),
            ],
            queries: vec!["apikey".to_owned()],
        }
    }
}

impl Locations {
    /// What Claviger is told of a request.
    pub(super) fn told(&self, parts: &Parts) -> v1::HttpRequest {
        let mut headers = Vec::new();
        for name in &self.headers {
            // A second one already makes the request ambiguous; more would only make the message long.
            for value in parts.headers.get_all(name).iter().take(2) {
                headers.push(v1::HttpHeader {
                    name: name.as_str().to_owned(),
                    // What is not UTF-8 becomes something that no token can be.
                    value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
                });
            }
        }
        let mut path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or_default();
        let carrying = query.split('&').filter(|p| self.may_be_named(p));
        for (i, parameter) in carrying.enumerate() {
            path.push(if i == 0 { '?' } else { '&' });
            path.push_str(parameter);
        }
        let of_target = parts.uri.authority().map(|a| a.as_str().to_owned());
        let of_header = || parts.headers.get(HOST)?.to_str().ok().map(str::to_owned);
        v1::HttpRequest {
            headers,
            path,
            method: parts.method.as_str().to_owned(),
            host: of_target.or_else(of_header).unwrap_or_default(),
        }
    }

    /// Takes off the credential of an allowed request. Fails where what is left is no address, which is not seen to happen.
    pub(super) fn strip(&self, parts: &mut Parts) -> Result<(), http::Error> {
        for name in &self.headers {
            if *name == AUTHORIZATION && parts.headers.get_all(name).iter().all(is_foreign) {
                continue;
            }
            parts.headers.remove(name);
        }
        let query = parts.uri.query().unwrap_or_default();
        if query.split('&').any(|p| self.is_named(p)) {
            let rest: Vec<_> = query.split('&').filter(|p| !self.is_named(p)).collect();
            let target = match &*rest {
                [] => parts.uri.path().to_owned(),
                rest => format!("{}?{}", parts.uri.path(), rest.join("&")),
            };
            let mut uri = std::mem::take(&mut parts.uri).into_parts();
            uri.path_and_query = Some(PathAndQuery::try_from(target)?);
            parts.uri = Uri::from_parts(uri)?;
        }
        Ok(())
    }

    fn is_named(&self, parameter: &str) -> bool {
        let name = name_of(parameter);
        self.queries.iter().any(|own| own == name)
    }

    /// Also in another case, or encoded: Claviger refuses those as ambiguous.
    fn may_be_named(&self, parameter: &str) -> bool {
        let name = name_of(parameter);
        let like = |own: &String| own.eq_ignore_ascii_case(name);
        name.contains('%') || self.queries.iter().any(like)
    }
}

fn name_of(parameter: &str) -> &str {
    parameter.split('=').next().unwrap_or_default()
}

/// Whether an `Authorization` is somebody else's: another scheme, or a JWT. Claviger takes neither for a key, so the key
/// came elsewhere and the service may still want this.
fn is_foreign(value: &HeaderValue) -> bool {
    let value = value.as_bytes().trim_ascii();
    let end = value.iter().position(|b| matches!(b, b' ' | b'\t'));
    let (scheme, rest) = value
        .split_at_checked(end.unwrap_or(value.len()))
        .unwrap_or((value, &[]));
    if scheme.eq_ignore_ascii_case(b"bearer") {
        rest.iter().filter(|b| **b == b'.').count() == 2 && !rest.contains(&b',')
    } else {
        !scheme.eq_ignore_ascii_case(b"basic")
    }
}

/// Removes what a client says about its own identity, in every spelling that a CGI-like service reads as the same name.
pub(super) fn strip_identity(headers: &mut HeaderMap) {
    let forged: Vec<_> = headers
        .keys()
        .filter(|name| name.as_str().replace('_', "-").starts_with(IDENTITY))
        .cloned()
        .collect();
    for name in forged {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn claviger_is_told_of_possible_credentials_alone() {
        let told = Locations::default().told(&parts(
            "/orders?page=2&apikey=k1&API%4bEY=k2&ApiKey=k3",
            &[("cookie", "c"), ("X-Api-Key", "k"), ("accept", "*/*")],
        ));
        assert_eq!(told.path, "/orders?apikey=k1&API%4bEY=k2&ApiKey=k3");
        assert_eq!(told.headers.len(), 1);
        assert_eq!(told.headers[0].value, "k");
    }

    #[test]
    fn repeated_headers_are_told_as_repeated_but_not_all_of_them() {
        let all = [("apikey", "k"); 300];
        let told = Locations::default().told(&parts("/", &all));
        assert_eq!(told.headers.len(), 2);
    }

    #[track_caller]
    fn stripped(uri: &str, headers: &[(&str, &str)], left: (&str, &[&str])) {
        let mut parts = parts(uri, headers);
        Locations::default().strip(&mut parts).unwrap();
        let names: Vec<_> = parts.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!((&*parts.uri.to_string(), &*names), left);
    }

    #[test]
    fn the_credential_is_taken_off_wherever_it_was() {
        stripped("/p", &[("authorization", "Bearer k")], ("/p", &[]));
        stripped("/p", &[("authorization", "Basic azE6")], ("/p", &[]));
        stripped(
            "/p",
            &[("x-api-key", "k"), ("accept", "a")],
            ("/p", &["accept"]),
        );
        stripped("/p?apikey=k", &[], ("/p", &[]));
        stripped("/p?a=1&apikey=k&b", &[], ("/p?a=1&b", &[]));
        stripped("http://h/p?a=%20", &[], ("http://h/p?a=%20", &[]));
    }

    #[test]
    fn an_authorization_of_somebody_else_stays() {
        let kept: (&str, &[&str]) = ("/", &["authorization"]);
        stripped(
            "/",
            &[("authorization", "Bearer a.b.c"), ("apikey", "k")],
            kept,
        );
        stripped("/", &[("authorization", "Digest a=b")], kept);
        stripped(
            "/",
            &[("authorization", "Bearer a.b.c,Bearer k")],
            ("/", &[]),
        );
    }

    #[test]
    fn forged_identity_goes_in_every_spelling() {
        let mut parts = parts(
            "/",
            &[
                ("x-claviger-key-id", "k"),
                ("X-Claviger_Scopes", "s"),
                ("x_claviger_new", "n"),
                ("x-clavigers", "stays"),
            ],
        );
        strip_identity(&mut parts.headers);
        let left: Vec<_> = parts.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["x-clavigers"]);
    }
}
