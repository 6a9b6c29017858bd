//! Which keys to list, and in which order.

use super::input::{check, enumeration, parse_optional, time};
use super::key::MAX_LIST;
use crate::app::error::Error;
use crate::app::keys::KeyFilter;
use crate::app::ports::{KeyOrder, StateSet};
use crate::domain::scope::Grant;
use crate::domain::text;
use crate::grpc::proto::v1;

/// Reads a filter.
pub(in crate::grpc) fn key_filter(filter: Option<v1::KeyFilter>) -> Result<KeyFilter, Error> {
    let Some(filter) = filter else {
        return Ok(KeyFilter::default());
    };
    check(
        "filter.name_contains",
        text::optional_display_name(&filter.name_contains),
    )?;
    let scope = match &*filter.scope {
        "" => None,
        scope => Some(
            Grant::parse(scope)
                .map_err(|e| Error::invalid_at("filter.scope", e))?
                .as_str()
                .to_owned(),
        ),
    };
    let label = match &*filter.label {
        "" => None,
        label => {
            let (name, value) = label
                .split_once('=')
                .map_or((label, None), |(n, v)| (n, Some(v.to_owned())));
            check("filter.label", text::label_name(name))?;
            check(
                "filter.label",
                text::label_value(value.as_deref().unwrap_or_default()),
            )?;
            Some((name.to_owned(), value))
        }
    };
    Ok(KeyFilter {
        name_contains: (!filter.name_contains.is_empty())
            .then(|| text::fold(&filter.name_contains)),
        states: states(&filter.states)?,
        scope,
        subscription: parse_optional("filter.subscription", &filter.subscription)?,
        principal: parse_optional("filter.principal", &filter.principal)?,
        label,
        expire_before: filter
            .expire_before
            .map(|t| time("filter.expire_before", t))
            .transpose()?,
        unused_since: filter
            .unused_since
            .map(|t| time("filter.unused_since", t))
            .transpose()?,
    })
}

fn states(list: &[i32]) -> Result<Option<StateSet>, Error> {
    if list.is_empty() {
        return Ok(None);
    }
    if list.len() > MAX_LIST {
        return Err(Error::invalid(
            "filter.states",
            format!("has more than {MAX_LIST} entries; name each state once"),
        ));
    }
    let mut states = StateSet::default();
    for (i, state) in list.iter().enumerate() {
        match enumeration::<v1::key::State>(&format!("filter.states[{i}]"), *state)? {
            v1::key::State::Unspecified => return Ok(None),
            v1::key::State::Active => states.active = true,
            v1::key::State::Disabled => states.disabled = true,
            v1::key::State::Expired => states.expired = true,
            v1::key::State::Deleted => states.deleted = true,
        }
    }
    Ok(Some(states))
}

/// Reads an order.
pub(in crate::grpc) fn key_order(order_by: &str) -> Result<KeyOrder, Error> {
    let mut words = order_by.split_ascii_whitespace();
    let descending = |word: Option<&str>| match word {
        None | Some("asc") => Some(false),
        Some("desc") => Some(true),
        Some(_) => None,
    };
    let order = match words.next() {
        None | Some("create_time") => {
            descending(words.next()).map(|descending| KeyOrder::Created { descending })
        }
        Some("display_name") => {
            descending(words.next()).map(|descending| KeyOrder::Name { descending })
        }
        Some(_) => None,
    };
    order.filter(|_| words.next().is_none()).ok_or_else(|| {
        Error::invalid("order_by", "is no order of keys; use `create_time` or `display_name`, with ` desc` for the reverse")
    })
}
