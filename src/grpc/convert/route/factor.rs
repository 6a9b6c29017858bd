//! What routes demand beside the key.

use crate::app::error::Error;
use crate::domain::id::WorkspaceId;
use crate::domain::route::{Factor, HeaderDemand, ValueTag};
use crate::domain::scope;
use crate::domain::token::{self, LookupKey};
use crate::grpc::proto::v1;

use super::super::input::check;
use super::{at_most, header_name};

const MAX_FACTORS: usize = 8;
const MAX_CLAIM_VALUES: usize = 64;
const MAX_VALUES: usize = 100;
const MAX_TEXT: usize = 256;
/// Under which name Envoy's examples have a payload.
const DEFAULT_PAYLOAD: &str = "jwt_payload";

/// Reads factors.
pub(super) fn read(
    list: Vec<v1::Factor>,
    workspace: &WorkspaceId,
    key: &LookupKey,
) -> Result<Vec<Factor>, Error> {
    use v1::factor::Factor as Wire;
    at_most("route.factors", list.len(), MAX_FACTORS)?;
    let mut factors = Vec::with_capacity(list.len());
    for (i, wire) in list.into_iter().enumerate() {
        let field = format!("route.factors[{i}]");
        factors.push(match wire.factor {
            None => return Err(Error::invalid(field, "is empty; give `jwt` or `header`")),
            Some(Wire::Jwt(wire)) => jwt(&format!("{field}.jwt"), wire)?,
            Some(Wire::Header(wire)) => header(&format!("{field}.header"), wire, workspace, key)?,
        });
    }
    Ok(factors)
}

fn jwt(field: &str, wire: v1::JwtFactor) -> Result<Factor, Error> {
    let text = |part: String, text: &str| {
        let good = (1..=MAX_TEXT).contains(&text.len()) && !text.chars().any(char::is_control);
        if good {
            Ok(())
        } else {
            let message = format!("must be 1 to {MAX_TEXT} bytes without control characters");
            Err(Error::invalid(format!("{field}.{part}"), message))
        }
    };
    text("claim".to_owned(), &wire.claim)?;
    at_most(
        &format!("{field}.values"),
        wire.values.len(),
        MAX_CLAIM_VALUES,
    )?;
    for (i, value) in wire.values.iter().enumerate() {
        text(format!("values[{i}]"), value)?;
    }
    let payload = match &*wire.payload {
        "" => DEFAULT_PAYLOAD.to_owned(),
        named => {
            text("payload".to_owned(), named)?;
            wire.payload
        }
    };
    Ok(Factor::Jwt {
        payload,
        claim: wire.claim,
        values: super::sorted(wire.values),
    })
}

fn header(
    field: &str,
    wire: v1::HeaderFactor,
    workspace: &WorkspaceId,
    key: &LookupKey,
) -> Result<Factor, Error> {
    use v1::header_factor::Demand as Wire;
    let name = header_name(&format!("{field}.name"), &wire.name)?;
    let demand = match wire.demand {
        Some(Wire::Present(true)) => HeaderDemand::Present,
        Some(Wire::OneOf(values)) => {
            HeaderDemand::OneOf(tags(&format!("{field}.one_of"), &values, workspace, key)?)
        }
        Some(Wire::KeyWithScope(name)) => {
            check(
                &format!("{field}.key_with_scope"),
                scope::check_demand(&name),
            )?;
            HeaderDemand::Key(name)
        }
        None | Some(Wire::Present(false)) => {
            return Err(Error::invalid(
                field,
                "demands nothing; give `present`, `one_of` or `key_with_scope`",
            ));
        }
    };
    Ok(Factor::Header {
        name,
        demand,
        forward: wire.forward,
    })
}

/// The tags that are given, and those of the values, without doubles.
fn tags(
    field: &str,
    wire: &v1::HeaderValues,
    workspace: &WorkspaceId,
    key: &LookupKey,
) -> Result<Vec<ValueTag>, Error> {
    if !(1..=MAX_VALUES).contains(&(wire.values.len() + wire.tags.len())) {
        return Err(Error::invalid(
            field,
            format!("must have 1 to {MAX_VALUES} values and tags together"),
        ));
    }
    let mut texts = Vec::new();
    for (i, text) in wire.tags.iter().enumerate() {
        let tag = ValueTag::try_from(text.clone())
            .map_err(|e| Error::invalid_at(&format!("{field}.tags[{i}]"), e))?;
        texts.push(String::from(tag));
    }
    for (i, value) in wire.values.iter().enumerate() {
        let shown = |b: u8| token::is_token_byte(b) && b != b',';
        if !(1..=token::MAX_LEN).contains(&value.len()) || !value.bytes().all(shown) {
            return Err(Error::invalid(
                format!("{field}.values[{i}]"),
                "must be 1 to 512 visible ASCII characters without comma",
            ));
        }
        let tag = ValueTag::of(key, workspace.as_str(), value.as_bytes());
        texts.push(String::from(tag));
    }
    super::sorted(texts)
        .into_iter()
        .map(|text| ValueTag::try_from(text).map_err(|e| Error::invalid_at(field, e)))
        .collect()
}

/// Writes a factor.
pub(super) fn write(factor: &Factor) -> v1::Factor {
    use v1::factor::Factor as Wire;
    let wire = match factor {
        Factor::Jwt {
            payload,
            claim,
            values,
        } => Wire::Jwt(v1::JwtFactor {
            payload: payload.clone(),
            claim: claim.clone(),
            values: values.clone(),
        }),
        Factor::Header {
            name,
            demand,
            forward,
        } => Wire::Header(v1::HeaderFactor {
            name: name.clone(),
            demand: Some(write_demand(demand)),
            forward: *forward,
        }),
    };
    v1::Factor { factor: Some(wire) }
}

fn write_demand(demand: &HeaderDemand) -> v1::header_factor::Demand {
    use v1::header_factor::Demand;
    match demand {
        HeaderDemand::Present => Demand::Present(true),
        HeaderDemand::OneOf(tags) => Demand::OneOf(v1::HeaderValues {
            values: Vec::new(),
            tags: tags.iter().map(|tag| String::from(*tag)).collect(),
        }),
        HeaderDemand::Key(scope) => Demand::KeyWithScope(scope.clone()),
    }
}
