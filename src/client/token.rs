//! The credential of whoever calls: a token that is never shown, and the interceptor that sends it.

use std::fmt;
use std::str::FromStr;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};
use zeroize::Zeroizing;

/// Longest token that Claviger takes, in bytes.
const MAX_TOKEN: usize = 512;

/// A token: 1 to 512 visible ASCII characters. Its `Debug` does not show it; its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

/// The text is no token. Says nothing of the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidToken {
    /// Nothing is there.
    #[error("the token is empty")]
    Empty,
    /// More than 512 bytes.
    #[error("the token is longer than 512 bytes")]
    TooLong,
    /// A space, a line's end, or what is not ASCII. A file's last line end has to be trimmed off.
    #[error("the token has a character that is not visible ASCII")]
    Unprintable,
}

impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        if text.is_empty() {
            return Err(InvalidToken::Empty);
        }
        if text.len() > MAX_TOKEN {
            return Err(InvalidToken::TooLong);
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(InvalidToken::Unprintable);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

/// An interceptor of a tonic client: sends `authorization: Bearer` with every call.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    /// Sends this token.
    pub fn new(token: &Token) -> Self {
        let text = Zeroizing::new(format!("Bearer {}", *token.0));
        // Visible ASCII is a header's value: there is always one.
        let mut value: Option<MetadataValue<Ascii>> = text.parse().ok();
        if let Some(value) = &mut value {
            // Not shown by `Debug`, and not kept in the table by which HTTP/2 compresses headers.
            value.set_sensitive(true);
        }
        Self(value)
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(redacted)")
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value = self
            .0
            .clone()
            .ok_or_else(|| Status::internal("the token can't be sent as a header"))?;
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_visible_ascii_of_a_token_s_length_is_a_token() {
        let parse = |text: &str| text.parse::<Token>().err();
        assert_eq!(parse("clv_abc"), None);
        assert_eq!(parse(&"x".repeat(512)), None);
        assert_eq!(parse(&"x".repeat(513)), Some(InvalidToken::TooLong));
        assert_eq!(parse(""), Some(InvalidToken::Empty));
        for text in ["a b", "abc\n", "\u{e4}", "a\0"] {
            assert_eq!(parse(text), Some(InvalidToken::Unprintable), "{text:?}");
        }
    }

    #[test]
    fn a_token_is_sent_and_never_shown() {
        const SECRET: &str = "clv_nobody-may-see";
        let token: Token = SECRET.parse().unwrap();
        let mut bearer = Bearer::new(&token);
        let request = bearer.call(Request::new(())).unwrap();
        let sent = request.metadata().get("authorization").unwrap();
        assert_eq!(sent.to_str().unwrap(), format!("Bearer {SECRET}"));
        for shown in [
            format!("{token:?}"),
            format!("{bearer:?}"),
            format!("{request:?}"),
        ] {
            assert!(!shown.contains("nobody"), "{shown}");
        }
    }
}
