//! Where a credential may be, and how it may travel.

use super::input::presentation;
use crate::app::error::Error;
use crate::domain::workspace::{Location, PresentationSet};
use crate::grpc::proto::v1;

const MAX_LOCATIONS: usize = 16;

/// Reads places for a credential.
pub(super) fn locations(
    field: &str,
    list: Vec<v1::CredentialLocation>,
) -> Result<Vec<Location>, Error> {
    use v1::credential_location::Location as Wire;
    if list.len() > MAX_LOCATIONS {
        return Err(Error::invalid(
            field,
            format!("has more than {MAX_LOCATIONS} entries; remove some"),
        ));
    }
    let mut locations: Vec<Location> = Vec::with_capacity(list.len());
    for (i, wire) in list.into_iter().enumerate() {
        let at = |part: &str| format!("{field}[{i}]{part}");
        let location = match wire.location {
            None => {
                return Err(Error::invalid(
                    at(""),
                    "is empty; give `header`, `query`, `bearer` or `basic`",
                ));
            }
            Some(Wire::Header(name)) => {
                Location::header(&name).map_err(|e| Error::invalid_at(&at(".header"), e))?
            }
            Some(Wire::Query(name)) => {
                Location::query(&name).map_err(|e| Error::invalid_at(&at(".query"), e))?
            }
            Some(Wire::Bearer(true)) => Location::Bearer,
            Some(Wire::Basic(true)) => Location::Basic,
            Some(Wire::Bearer(false) | Wire::Basic(false)) => {
                return Err(Error::invalid(at(""), "is false; leave it out instead"));
            }
        };
        if locations.contains(&location) {
            return Err(Error::invalid(
                at(""),
                "stands in the list already; remove one",
            ));
        }
        locations.push(location);
    }
    Ok(locations)
}

/// Reads ways of presenting.
pub(super) fn presentations(field: &str, list: &[i32]) -> Result<PresentationSet, Error> {
    if list.len() > MAX_LOCATIONS {
        return Err(Error::invalid(
            field,
            format!("has more than {MAX_LOCATIONS} entries; name each way once"),
        ));
    }
    let mut set = Vec::new();
    for (i, number) in list.iter().enumerate() {
        let field = format!("{field}[{i}]");
        let one = presentation(&field, *number)?;
        set.push(
            one.ok_or_else(|| Error::invalid(field, "is unspecified; name a way of presenting"))?,
        );
    }
    Ok(set.into_iter().collect())
}

/// Writes a place for a credential.
pub(super) fn wire_location(location: &Location) -> v1::CredentialLocation {
    use v1::credential_location::Location as Wire;
    v1::CredentialLocation {
        location: Some(match location {
            Location::Bearer => Wire::Bearer(true),
            Location::Basic => Wire::Basic(true),
            Location::Header(name) => Wire::Header(name.clone()),
            Location::Query(name) => Wire::Query(name.clone()),
        }),
    }
}
