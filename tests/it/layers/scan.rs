//! Reads Rust just well enough to see which paths a file names.

/// Words before a path that begins with `::`.
const KEYWORDS: [&str; 9] = [
    "as", "dyn", "else", "impl", "in", "match", "mut", "return", "use",
];

/// A word or a sign of Rust; `::` is one sign.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: usize,
}

impl Token {
    fn is_word(&self) -> bool {
        self.text
            .starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// Reads the tokens of a source; comments and the contents of literals are left out.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let (mut all, mut i, mut line) = (Vec::<Token>::new(), 0, 1);
    while i < chars.len() {
        let start = i;
        match (at(i), at(i + 1)) {
            ('/', '/') => i = skip(&chars, i, |rest| rest.starts_with(&['\n'])),
            ('/', '*') => {
                let mut depth = 0;
                loop {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                    if depth == 0 || i >= chars.len() {
                        break;
                    }
                }
            }
            ('"', _) => i = end_of_text(&chars, i),
            ('\'', '\\') => i = skip(&chars, i + 3, |rest| rest.starts_with(&['\''])) + 1,
            ('\'', _) if at(i + 2) == '\'' => i += 3,
            (c, _) if c.is_alphanumeric() || c == '_' => {
                i = skip(&chars, i, |rest| {
                    rest.first()
                        .is_none_or(|c| !c.is_alphanumeric() && *c != '_')
                });
                let word: String = chars[start..i].iter().collect();
                let hashes = chars[i..].iter().take_while(|c| **c == '#').count();
                if ["r", "br", "cr"].contains(&&*word) && at(i + hashes) == '"' {
                    let end: Vec<char> = ['"'].into_iter().chain(vec!['#'; hashes]).collect();
                    i = skip(&chars, i + hashes + 1, |rest| rest.starts_with(&end)) + end.len();
                } else {
                    all.push(Token { text: word, line });
                }
            }
            (':', ':') => {
                i += 2;
                all.push(Token {
                    text: "::".to_owned(),
                    line,
                });
            }
            (c, _) => {
                i += 1;
                if !c.is_whitespace() {
                    all.push(Token {
                        text: c.to_string(),
                        line,
                    });
                }
            }
        }
        i = i.min(chars.len());
        line += chars[start..i].iter().filter(|c| **c == '\n').count();
    }
    all
}

fn skip(chars: &[char], from: usize, until: impl Fn(&[char]) -> bool) -> usize {
    let mut i = from;
    while i < chars.len() && !until(&chars[i..]) {
        i += 1;
    }
    i
}

fn end_of_text(chars: &[char], from: usize) -> usize {
    let mut i = from + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// Every path that begins in these tokens, groups spelt out: those within the crate as `crate::…`, wherever they are
/// written from; `self::…` and what is in scope already are the file's own.
pub(super) fn paths(tokens: &[Token], module: &[String]) -> Vec<(usize, String)> {
    let text = |i: usize| tokens.get(i).map_or("", |token| &*token.text);
    let mut all = Vec::new();
    // The inline modules around, as the depths of braces at which they end.
    let (mut depth, mut inline) = (0, Vec::new());
    for (i, token) in tokens.iter().enumerate() {
        match &*token.text {
            "{" => {
                depth += 1;
                if i >= 2 && text(i - 2) == "mod" {
                    inline.push(depth);
                }
            }
            "}" => {
                inline.retain(|end| *end != depth);
                depth -= 1;
            }
            _ => {}
        }
        let before = text(i.wrapping_sub(2));
        let continues =
            i > 1 && text(i - 1) == "::" && tokens[i - 2].is_word() && !KEYWORDS.contains(&before);
        let in_group = i > 0 && ["{", ","].contains(&text(i - 1)) && is_in_group(tokens, i);
        let alone = text(i.wrapping_sub(1)) == "use" && [";", "as"].contains(&text(i + 1));
        if !token.is_word() || continues || in_group || (text(i + 1) != "::" && !alone) {
            continue;
        }
        let (start, next) = match &*token.text {
            "self" | "Self" => continue,
            "crate" | "claviger" => ("crate".to_owned(), i + 1),
            "super" => {
                let mut next = i + 1;
                let mut up = 1;
                while text(next) == "::" && text(next + 1) == "super" {
                    (up, next) = (up + 1, next + 2);
                }
                let left = (module.len() + inline.len()).saturating_sub(up);
                let outer: Vec<_> = ["crate".to_owned()]
                    .into_iter()
                    .chain(module.iter().take(left).cloned())
                    .collect();
                (outer.join("::"), next)
            }
            name => (name.to_owned(), i + 1),
        };
        expand(tokens, next, start, &mut all);
    }
    all
}

/// Whether a word stands in a group that continues a path, `a::{…}`.
fn is_in_group(tokens: &[Token], at: usize) -> bool {
    let mut depth = 0;
    for i in (1..at).rev() {
        match &*tokens[i].text {
            "}" => depth += 1,
            "{" if depth == 0 => {
                if tokens[i - 1].text == "::" {
                    return true;
                }
                return false;
            }
            "{" => depth -= 1,
            ";" => return false,
            _ => {}
        }
    }
    false
}

/// Follows a path from the sign after its beginning; returns where it ends.
fn expand(tokens: &[Token], from: usize, so_far: String, all: &mut Vec<(usize, String)>) -> usize {
    let text = |i: usize| tokens.get(i).map_or("", |token| &*token.text);
    let line = tokens
        .get(from.saturating_sub(1))
        .map_or(0, |token| token.line);
    if text(from) != "::" {
        all.push((line, so_far));
        return from;
    }
    let mut i = from + 1;
    if text(i) != "{" {
        let part = text(i).to_owned();
        if tokens.get(i).is_some_and(Token::is_word) && part != "self" || part == "*" {
            return expand(tokens, i + 1, format!("{so_far}::{part}"), all);
        }
        all.push((line, so_far));
        return i;
    }
    i += 1;
    while i < tokens.len() && text(i) != "}" {
        match text(i) {
            "self" => all.push((tokens[i].line, so_far.clone())),
            "," => {}
            // A rename: the name that follows is the file's own.
            "as" => i += 1,
            part => {
                i = expand(tokens, i + 1, format!("{so_far}::{part}"), all);
                continue;
            }
        }
        i += 1;
    }
    i + 1
}
