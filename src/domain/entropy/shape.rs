//! What is seen of a token's format: the parts that are the same for all, and identifiers whose layout says how much of
//! them is random.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// First parts of well-known token formats, which say whose token it is and nothing else.
const LABELS: [&str; 16] = [
    "sk", "pk", "rk", "api", "key", "live", "test", "prod", "proj", "xoxb", "xoxp", "xoxa",
    "glpat", "token", "secret", "whsec",
];

/// The token without its label: up to three leading parts such as `sk_live_`, which are the same for everybody.
pub(super) fn without_labels(token: &[u8]) -> &[u8] {
    let mut body = token;
    for _ in 0..3 {
        let Some(at) = body.iter().position(|b| matches!(b, b'_' | b'-')) else {
            break;
        };
        let (label, rest) = body.split_at_checked(at).unwrap_or((body, &[]));
        let known = LABELS.iter().any(|l| l.as_bytes() == label);
        let shaped = (2..=10).contains(&label.len()) && label.iter().all(u8::is_ascii_lowercase);
        if !(known || shaped && rest.first() == Some(&b'_')) {
            break;
        }
        body = rest.get(1..).unwrap_or(&[]);
    }
    body
}

/// The token without padding, and without the separators of equal groups (`ABCDE-FGHIJ-…`) or of words.
pub(super) fn without_grouping(body: &[u8]) -> Vec<u8> {
    let end = body.iter().rposition(|b| *b != b'=').map_or(0, |at| at + 1);
    let body = body.get(..end).unwrap_or(body);
    for sign in *b"-.:_" {
        let groups: Vec<&[u8]> = body.split(|b| *b == sign).collect();
        let all = |ok: fn(&u8) -> bool| groups.iter().all(|g| g.iter().all(ok));
        let len = groups.first().map_or(0, |g| g.len());
        let equal = (2..=8).contains(&len) && groups.iter().all(|g| g.len() == len);
        let words = all(u8::is_ascii_lowercase) || all(u8::is_ascii_uppercase);
        if groups.len() >= 2 && (words || equal && all(u8::is_ascii_alphanumeric)) {
            return groups.concat();
        }
    }
    body.to_vec()
}

/// The signature of a signed JSON token: its header and claims are known to many and guessed by others.
pub(super) fn jwt_signature(body: &[u8]) -> Option<&[u8]> {
    let mut parts = body.split(|b| *b == b'.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(header), Some(_), Some(signature), None) if header.starts_with(b"eyJ") => {
            Some(signature)
        }
        _ => None,
    }
}

/// The digits of a UUID and the most bits its version can have. Without hyphens only where its time is plausible: one
/// random number in 64 has the version and variant of a given UUID.
pub(super) fn uuid(body: &[u8]) -> Option<(Vec<u8>, u32)> {
    let hyphens = [8, 13, 18, 23].map(|at| body.get(at) == Some(&b'-'));
    let dashed = body.len() == 36 && hyphens == [true; 4];
    let digits: Vec<u8> = body
        .iter()
        .copied()
        .filter(|b| !dashed || *b != b'-')
        .collect();
    let value = u128::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?;
    if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    if value >> 62 & 3 != 2 {
        return dashed.then_some((digits, 128));
    }
    // The top 12 bits of a Gregorian time in 1999 to 2041, and milliseconds from 2010 to 2040.
    let gregorian = |high: u128| dashed || (0x1d3..0x202).contains(&high);
    let cap = match value >> 76 & 0xf {
        1 | 2 if gregorian(value >> 64 & 0xfff) => 30,
        6 if gregorian(value >> 116) => 30,
        7 if dashed || plausible_millis(value >> 80) => 74,
        3 | 5 if dashed => 40,
        _ if dashed => 122,
        _ => return None,
    };
    Some((digits, cap))
}

/// The characters of a ULID (48 bits of time, 80 random ones in Crockford's base32), where its time is plausible.
pub(super) fn ulid(body: &[u8]) -> Option<(Vec<u8>, u32)> {
    let digit = |b: &u8| {
        b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"
            .iter()
            .position(|c| c.eq_ignore_ascii_case(b))
    };
    if body.len() != 26 || !body.iter().all(|b| digit(b).is_some()) {
        return None;
    }
    let time = body
        .iter()
        .take(10)
        .filter_map(digit)
        .fold(0, |t, d| t << 5 | d as u128);
    plausible_millis(time).then(|| (body.to_vec(), 80))
}

fn plausible_millis(time: u128) -> bool {
    (1_262_304_000_000..2_208_988_800_000).contains(&time)
}

/// What the token says where it is text in base64 or hexadecimal: a random one of 12 bytes is text once in 100,000 times.
pub(super) fn decoded_text(body: &[u8]) -> Option<Vec<u8>> {
    let pair = |p: &[u8]| u8::from_str_radix(std::str::from_utf8(p).ok()?, 16).ok();
    let hex = || body.chunks(2).map(pair).collect::<Option<Vec<u8>>>();
    let base64 = || {
        STANDARD_NO_PAD
            .decode(body)
            .or_else(|_| URL_SAFE_NO_PAD.decode(body))
            .ok()
    };
    let is_text =
        |bytes: &Vec<u8>| bytes.len() >= 12 && bytes.iter().all(|b| matches!(b, 0x20..=0x7e));
    hex().filter(is_text).or_else(|| base64().filter(is_text))
}
