//! Where a credential is found, and where it is not one.

use super::*;

struct List<'a>(&'a [(&'a str, &'a str)]);

impl Headers for List<'_> {
    fn for_each<'h>(&'h self, each: &mut dyn FnMut(&'h [u8], &'h [u8])) {
        for (name, value) in self.0 {
            each(name.as_bytes(), value.as_bytes());
        }
    }
}

#[track_caller]
fn check(headers: &[(&str, &str)], path: &str, expected: &str) {
    let list = List(headers);
    let mut carried = Carried::default();
    let places = (&*Location::defaults(), Authorization::NoJwt);
    let found = match extract(&list, path.as_bytes(), places, &mut carried) {
        Err(NotOne::None { .. }) => "none".to_owned(),
        Err(NotOne::Ambiguous(_)) => "ambiguous".to_owned(),
        Err(NotOne::Undecodable { .. }) => "malformed".to_owned(),
        Ok(c) => format!(
            "{:?} {}",
            c.presentation,
            String::from_utf8_lossy(c.bytes())
        ),
    };
    assert_eq!(found, expected, "{headers:?} {path}");
}

#[test]
fn every_location_yields_its_credential() {
    check(&[], "/", "none");
    check(&[("X-Api-Key", "k1")], "/", "Header k1");
    check(&[("apikey", " k1 ")], "/", "Header k1");
    check(&[("authorization", "Bearer k1")], "/", "Bearer k1");
    check(&[("authorization", "bEARER  k1")], "/", "Bearer k1");
    check(&[("authorization", "Basic dTprMQ==")], "/", "Basic k1");
    check(&[("authorization", "Basic azE6")], "/", "Basic k1");
    check(&[], "/p?a=b&apikey=k1&c", "Query k1");
    check(&[], "/p?apikey=k%311%2b+", "Query k11++");
}

#[test]
fn a_jwt_or_another_scheme_is_no_credential() {
    check(
        &[("authorization", "Bearer a.b.c"), ("x-api-key", "k1")],
        "/",
        "Header k1",
    );
    check(
        &[("authorization", "Digest a=b, c=d"), ("x-api-key", "k1")],
        "/",
        "Header k1",
    );
    check(&[("authorization", "Bearer a.b.c")], "/", "none");
    check(&[("x-api-key", ""), ("api-key", "k1")], "/", "Header k1");
}

#[test]
fn one_value_in_two_places_is_one_credential() {
    check(
        &[("apikey", "k1"), ("authorization", "Bearer k1")],
        "/?apikey=k1",
        "Bearer k1",
    );
}

#[test]
fn what_parties_could_read_differently_is_ambiguous() {
    for headers in [
        &[("x-api-key", "k1"), ("api-key", "k2")][..],
        &[("x-api-key", "k1"), ("x-api-key", "k1")],
        &[("x-api-key", "k1"), ("X-API-Key", "")],
        &[("x-api-key", "k1,k1")],
        &[("authorization", "Bearer k1,Bearer k1")],
        &[("authorization", "Bearer a.b.c,Bearer k1")],
        &[
            ("authorization", "Bearer k1"),
            ("authorization", "Bearer k1"),
        ],
        &[
            ("authorization", "Digest x"),
            ("authorization", "Bearer k1"),
        ],
        &[("authorization", "Basic dTprMQ==,Basic dTprMQ==")],
        &[("authorization", "Basic ???"), ("x-api-key", "k1")],
    ] {
        check(headers, "/", "ambiguous");
    }
    for path in [
        "/?apikey=a&apikey=a",
        "/?%61pikey=a",
        "/?APIKEY=a",
        "/?apikey=a&Apikey",
        "/?apike%79",
        "/?apikey=a,b",
        "/?apikey=a%2Cb",
        "/?apikey&apikey=a",
    ] {
        check(&[], path, "ambiguous");
    }
}

#[test]
fn what_cannot_be_decoded_is_malformed() {
    check(&[("authorization", "Basic ???")], "/", "malformed");
    check(&[("authorization", "Basic azE=")], "/", "malformed");
    check(&[], "/?apikey=a%", "malformed");
    check(&[], "/?apikey=a%zz", "malformed");
}

#[test]
fn names_that_only_resemble_a_location_do_not_count() {
    check(
        &[("x_api_key", "k1"), ("x-api-keys", "k2")],
        "/apikey=k?api+key=k&apikeys=k&%61pi=k",
        "none",
    );
}
