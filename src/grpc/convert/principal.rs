//! Principals.

use crate::app::directory::{PrincipalEdit, PrincipalFilter, Wanted};
use crate::app::error::Error;
use crate::domain::id::PrincipalId;
use crate::domain::principal::Principal;
use crate::domain::revision;
use crate::domain::scope::Grant;
use crate::domain::text;
use crate::grpc::proto::v1;

use super::input::{check, parse, timestamp};
use super::key::set;
use super::mask::Mask;

/// Reads what there is to be. Nothing but the id is a principal, too.
pub(in crate::grpc) fn principal_edits(
    wire: v1::Principal,
    mask: Option<prost_types::FieldMask>,
) -> Result<Vec<PrincipalEdit>, Error> {
    let mask = Mask::parse(mask, &["display_name", "enabled", "scopes"])?;
    let mut edits = Vec::new();
    if mask.takes("display_name", !wire.display_name.is_empty()) {
        edits.push(PrincipalEdit::DisplayName(name(wire.display_name)?));
    }
    if mask.takes("enabled", wire.enabled.is_some()) {
        edits.push(PrincipalEdit::Enabled(wire.enabled.unwrap_or(true)));
    }
    if mask.takes("scopes", !wire.scopes.is_empty()) {
        edits.push(PrincipalEdit::Scopes(scopes(&wire.scopes)?));
    }
    Ok(edits)
}

/// Reads one of many; what is wrong with it is a matter of its own. An id that can't be one is not repeated at length.
pub(in crate::grpc) fn sync_item(
    wire: v1::Principal,
) -> (Result<PrincipalId, (String, Error)>, Result<Wanted, Error>) {
    let id = parse("principal.id", &wire.id).map_err(|error| (text::brief(&wire.id), error));
    (id, wanted(wire))
}

fn wanted(wire: v1::Principal) -> Result<Wanted, Error> {
    Ok(Wanted {
        display_name: name(wire.display_name)?,
        enabled: wire.enabled.unwrap_or(true),
        scopes: scopes(&wire.scopes)?,
    })
}

/// Reads a filter.
pub(in crate::grpc) fn principal_filter(
    filter: Option<v1::PrincipalFilter>,
) -> Result<PrincipalFilter, Error> {
    let filter = filter.unwrap_or_default();
    let part = &filter.name_contains;
    check("filter.name_contains", text::optional_display_name(part))?;
    Ok(PrincipalFilter {
        name_contains: (!part.is_empty()).then(|| text::fold(part)),
        enabled: filter.enabled,
    })
}

fn name(name: String) -> Result<String, Error> {
    check("principal.display_name", text::optional_display_name(&name)).map(|()| name)
}

fn scopes(list: &[String]) -> Result<Vec<Grant>, Error> {
    set("principal.scopes", list, Grant::parse)
}

/// Writes a principal.
pub(in crate::grpc) fn principal(principal: &Principal) -> v1::Principal {
    v1::Principal {
        workspace: principal.workspace.to_string(),
        id: principal.id.to_string(),
        display_name: principal.display_name.clone(),
        enabled: Some(principal.enabled),
        scopes: principal
            .scopes
            .iter()
            .map(|g| g.as_str().to_owned())
            .collect(),
        create_time: Some(timestamp(principal.create_time)),
        update_time: Some(timestamp(principal.update_time)),
        etag: revision::etag(principal.revision),
    }
}
