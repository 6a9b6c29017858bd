//! Single values: ids, times, enums, tokens.

use std::time::Duration;

use prost::Message;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::app::error::Error;
use crate::app::keys::Source;
use crate::app::mutate::Repeat;
use crate::domain::invalid::Invalid;
use crate::domain::secret::{RevocationReason, Slot};
use crate::domain::time::Time;
use crate::domain::token::{self, Token, TokenDigest};
use crate::domain::workspace::Presentation;
use crate::grpc::proto::v1;

/// Reads a value that parses from text.
pub(in crate::grpc) fn parse<T: std::str::FromStr<Err = Invalid>>(
    field: &str,
    text: &str,
) -> Result<T, Error> {
    if text.is_empty() {
        return Err(Error::invalid(field, "is required"));
    }
    text.parse().map_err(|e| Error::invalid_at(field, e))
}

/// Reads an optional id: empty means none.
pub(in crate::grpc) fn parse_optional<T: std::str::FromStr<Err = Invalid>>(
    field: &str,
    text: &str,
) -> Result<Option<T>, Error> {
    if text.is_empty() {
        Ok(None)
    } else {
        parse(field, text).map(Some)
    }
}

/// Checks a value with a rule of the domain.
pub(in crate::grpc) fn check(field: &str, result: Result<(), Invalid>) -> Result<(), Error> {
    result.map_err(|e| Error::invalid_at(field, e))
}

/// Reads an enum, refusing numbers it does not have.
pub(in crate::grpc) fn enumeration<E: TryFrom<i32>>(field: &str, number: i32) -> Result<E, Error> {
    E::try_from(number).map_err(|_| {
        Error::invalid(
            field,
            format!("has the unknown value {number}; use one of the enum's names"),
        )
    })
}

/// Reads a moment.
pub(in crate::grpc) fn time(field: &str, time: prost_types::Timestamp) -> Result<Time, Error> {
    // What RFC 3339 can write: years 1 to 9999.
    const RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    if !RANGE.contains(&time.seconds) || !(0..1_000_000_000).contains(&time.nanos) {
        return Err(Error::invalid(
            field,
            "is not a moment between the years 1 and 9999",
        ));
    }
    Ok(Time::from_micros(
        time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000,
    ))
}

/// Writes a moment.
pub(in crate::grpc) fn timestamp(time: Time) -> prost_types::Timestamp {
    let micros = time.micros();
    prost_types::Timestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos: i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or(0),
    }
}

/// Reads a span of time, 0 to `most`.
pub(in crate::grpc) fn duration(
    field: &str,
    span: prost_types::Duration,
    most: Duration,
) -> Result<Duration, Error> {
    let span = u64::try_from(span.seconds)
        .ok()
        .zip(
            u32::try_from(span.nanos)
                .ok()
                .filter(|n| *n < 1_000_000_000),
        )
        .map(|(seconds, nanos)| Duration::new(seconds, nanos))
        .filter(|span| *span <= most);
    span.ok_or_else(|| {
        Error::invalid(
            field,
            format!("must be 0 to {} seconds, and not negative", most.as_secs()),
        )
    })
}

/// Writes a span of time.
pub(in crate::grpc) fn wire_duration(span: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(span.subsec_nanos()).unwrap_or(0),
    }
}

/// Reads a slot; unspecified means PRIMARY.
pub(in crate::grpc) fn slot(field: &str, number: i32) -> Result<Slot, Error> {
    Ok(match enumeration::<v1::Slot>(field, number)? {
        v1::Slot::Unspecified | v1::Slot::Primary => Slot::Primary,
        v1::Slot::Secondary => Slot::Secondary,
    })
}

/// Reads a way of presenting; unspecified means none.
pub(in crate::grpc) fn presentation(
    field: &str,
    number: i32,
) -> Result<Option<Presentation>, Error> {
    Ok(match enumeration::<v1::Presentation>(field, number)? {
        v1::Presentation::Unspecified => None,
        v1::Presentation::Header => Some(Presentation::Header),
        v1::Presentation::Bearer => Some(Presentation::Bearer),
        v1::Presentation::Basic => Some(Presentation::Basic),
        v1::Presentation::Query => Some(Presentation::Query),
    })
}

/// Writes a way of presenting.
pub(in crate::grpc) fn presentation_number(presentation: Presentation) -> i32 {
    let value = match presentation {
        Presentation::Header => v1::Presentation::Header,
        Presentation::Bearer => v1::Presentation::Bearer,
        Presentation::Basic => v1::Presentation::Basic,
        Presentation::Query => v1::Presentation::Query,
    };
    value.into()
}

/// Reads why a secret is revoked.
pub(in crate::grpc) fn revocation_reason(
    field: &str,
    number: i32,
) -> Result<RevocationReason, Error> {
    use v1::RevocationReason as Wire;
    Ok(match enumeration::<Wire>(field, number)? {
        Wire::Unspecified => RevocationReason::Unspecified,
        Wire::KeyCompromise => RevocationReason::KeyCompromise,
        Wire::AffiliationChanged => RevocationReason::AffiliationChanged,
        Wire::Superseded => RevocationReason::Superseded,
        Wire::CessationOfOperation => RevocationReason::CessationOfOperation,
        Wire::PrivilegeWithdrawn => RevocationReason::PrivilegeWithdrawn,
    })
}

/// Reads where a secret comes from; absent: generate.
pub(in crate::grpc) fn source(
    field: &str,
    source: Option<v1::SecretSource>,
) -> Result<Source, Error> {
    use v1::secret_source::Source as Wire;
    match source.and_then(|s| s.source) {
        None => Ok(Source::Generate(None)),
        Some(Wire::Generate(generate)) => {
            if let Some(prefix) = &generate.prefix {
                check(
                    &format!("{field}.generate.prefix"),
                    token::check_prefix(prefix),
                )?;
            }
            Ok(Source::Generate(generate.prefix))
        }
        Some(Wire::ExternalToken(external)) => {
            let token = Token::external(external.token)
                .map_err(|e| Error::invalid_at(&format!("{field}.external_token.token"), e))?;
            Ok(Source::Token {
                token,
                allow_weak: external.allow_weak,
            })
        }
        Some(Wire::ExternalDigest(external)) => {
            let digest = TokenDigest::from_hex(&external.sha256_hex).map_err(|e| {
                Error::invalid_at(&format!("{field}.external_digest.sha256_hex"), e)
            })?;
            if external.asserted_entropy_bits > 4_096 {
                return Err(Error::invalid(
                    format!("{field}.external_digest.asserted_entropy_bits"),
                    "is more than any token has; give the bits, not the characters",
                ));
            }
            Ok(Source::Digest {
                digest,
                asserted_bits: external.asserted_entropy_bits,
                allow_weak: external.allow_weak,
            })
        }
    }
}

/// Reads what makes a call repeatable. `request` is the message with its `request_id` taken out.
pub(in crate::grpc) fn repeat(
    request_id: &str,
    request: &impl Message,
) -> Result<Option<Repeat>, Error> {
    if request_id.is_empty() {
        return Ok(None);
    }
    let id = Uuid::try_parse(request_id)
        .ok()
        .filter(|_| request_id.len() == 36);
    // The token of a repeated call is sealed under it: it must be random.
    match id.filter(|id| matches!(id.get_version_num(), 4 | 7)) {
        Some(id) => Ok(Some(Repeat {
            request_id: id.into_bytes(),
            request: Zeroizing::new(request.encode_to_vec()),
        })),
        None => Err(Error::invalid(
            "request_id",
            "is not a UUID of version 4 or 7, such as `0f8fad5b-d9cb-469f-a165-70867728950e`",
        )),
    }
}
