//! `claviger leak-rules`: what scanners need to find tokens.

use std::collections::BTreeSet;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::connect::WorkspaceOption;
use super::failure::{Exit, Failure};
use super::io::Io;
use super::{Common, MAX_ANSWER};
use crate::domain::token::check_prefix;
use crate::domain::workspace::WorkspaceSettings;
use crate::grpc::proto::v1;

/// Print patterns by which scanners find tokens.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger leak-rules > .gitleaks.toml
  claviger leak-rules --format github
  claviger leak-rules --prefix clv_live,clv_test

A generated token is `PREFIX_` and 48 characters of URL-safe base64: 32 random bytes, then the first 4 bytes of SHA-256 over
the prefix and those 32. A scanner can tell a real token from a look-alike without asking anybody: decode the 48 characters to
36 bytes, and compare the last 4 with the first 4 of SHA-256(PREFIX, without its `_`, followed by the first 32).

The prefixes are those of the workspaces that the caller may see. Keys can be made with prefixes of their own (`keys create
--prefix`): name those with `--prefix`. Tokens without a prefix, and those of other systems, have no pattern. Report what is
found with `claviger leaks report`.")]
pub struct LeakRulesArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    workspace: WorkspaceOption,
    /// For whom to write it
    #[arg(long, value_enum, default_value_t = Format::Gitleaks, value_name = "FORMAT")]
    format: Format,
    /// A further prefix; can be repeated, or separated by commas
    #[arg(long = "prefix", value_delimiter = ',', value_name = "PREFIX")]
    prefixes: Vec<String>,
}

/// For whom rules are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// gitleaks: TOML
    Gitleaks,
    /// GitHub's custom patterns: what to type into the form, as JSON
    Github,
}

/// Characters of a token that are part of it, or could make something longer of it.
const WITHIN: &str = "[A-Za-z0-9_-]";
/// What stands around a token.
const AROUND: &str = "[^A-Za-z0-9_-]";

/// Runs `leak-rules`.
pub(super) async fn run(args: LeakRulesArgs, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let mut prefixes = BTreeSet::new();
    for prefix in &args.prefixes {
        check_prefix(prefix).map_err(|fault| Failure::invalid("`--prefix`", &fault))?;
        prefixes.insert(prefix.clone());
    }
    let mut client = v1::directory_client::DirectoryClient::new(args.common.connect(io).await?)
        .max_decoding_message_size(MAX_ANSWER);
    let mut page_token = String::new();
    loop {
        let request = v1::ListWorkspacesRequest {
            page_size: 1_000,
            page_token,
        };
        let page = client.list_workspaces(request).await?.into_inner();
        let wanted = |w: &&v1::Workspace| {
            args.workspace.workspace.is_empty() || w.id == args.workspace.workspace
        };
        for workspace in page.workspaces.iter().filter(wanted) {
            let own = workspace.settings.as_ref();
            let own = own.and_then(|s| s.token_prefix.clone());
            prefixes
                .insert(own.unwrap_or_else(|| WorkspaceSettings::DEFAULT_TOKEN_PREFIX.to_owned()));
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if prefixes.remove("") {
        io.note("a workspace makes tokens without a prefix; they have no pattern that fits nothing else");
    }
    let text = match args.format {
        Format::Gitleaks => gitleaks(&prefixes),
        Format::Github => format!("{:#}", github(&prefixes)),
    };
    io.print(text.trim_end())?;
    io.out.flush()?;
    Ok(Exit::Ok)
}

/// The token itself. Prefixes are of `[a-z0-9_]`, where nothing has to be escaped.
fn token_pattern(prefix: &str) -> String {
    format!("{prefix}_{WITHIN}{{48}}")
}

/// Rules of gitleaks. Its expressions are RE2's: what stands around the token is part of the match, and the token a group.
fn gitleaks(prefixes: &BTreeSet<String>) -> String {
    let mut text = String::from(
        "# Tokens of Claviger, written by `claviger leak-rules`. Whether a match is a real token can be told offline: the last 4 of\n\
         # the 36 bytes in its 48 characters (URL-safe base64) are the first 4 of SHA-256(prefix without `_`, first 32 bytes).\n\
         title = \"Claviger\"\n\n[extend]\nuseDefault = true\n",
    );
    for prefix in prefixes {
        let token = token_pattern(prefix);
        text.push_str(&format!(
            "\n[[rules]]\nid = \"claviger-{}\"\ndescription = \"API key of Claviger with the prefix {prefix}\"\n\
             regex = '''(?:^|{AROUND})({token})(?:{AROUND}|$)'''\nsecretGroup = 1\nkeywords = [\"{prefix}_\"]\n",
            prefix.replace('_', "-"),
        ));
    }
    text
}

/// What GitHub asks for when a custom pattern is made.
fn github(prefixes: &BTreeSet<String>) -> Value {
    let pattern = |prefix: &String| {
        json!({
            "name": format!("Claviger API key ({prefix})"),
            "secret_format": token_pattern(prefix),
            "before_secret": format!("\\A|{AROUND}"),
            "after_secret": format!("\\z|{AROUND}"),
        })
    };
    json!({ "custom_patterns": prefixes.iter().map(pattern).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;
    use crate::domain::token::Token;

    const PREFIXES: [&str; 3] = ["clv", "clv_live", "k8"];

    fn prefixes() -> BTreeSet<String> {
        PREFIXES.map(str::to_owned).into()
    }

    /// The expressions in the TOML, by prefix.
    fn gitleaks_expressions() -> Vec<(String, Regex)> {
        let text = gitleaks(&prefixes());
        let between = |line: &str| {
            let rest = line.strip_prefix("regex = '''")?;
            rest.strip_suffix("'''").map(str::to_owned)
        };
        let found: Vec<_> = text.lines().filter_map(between).collect();
        assert_eq!(found.len(), PREFIXES.len(), "{text}");
        let sorted = prefixes().into_iter();
        sorted
            .zip(found.iter().map(|e| Regex::new(e).unwrap()))
            .collect()
    }

    /// The three parts that GitHub joins, as it joins them.
    fn github_expressions() -> Vec<(String, Regex)> {
        let value = github(&prefixes());
        let patterns = value["custom_patterns"].as_array().unwrap();
        let one = |p: &Value| {
            let part = |name: &str| p[name].as_str().unwrap().to_owned();
            let (before, token, after) = (
                part("before_secret"),
                part("secret_format"),
                part("after_secret"),
            );
            Regex::new(&format!("(?:{before})({token})(?:{after})")).unwrap()
        };
        prefixes()
            .into_iter()
            .zip(patterns.iter().map(one))
            .collect()
    }

    fn tokens(prefix: &str) -> Vec<String> {
        let random = |n: u8| std::array::from_fn(|i| (i as u8).wrapping_mul(37).wrapping_add(n));
        (0..100)
            .map(|n| Token::generate(prefix, &random(n)).reveal().to_owned())
            .collect()
    }

    #[test]
    fn every_generated_token_is_found_wherever_it_stands() {
        for (prefix, expression) in gitleaks_expressions()
            .into_iter()
            .chain(github_expressions())
        {
            for token in tokens(&prefix) {
                for text in [
                    token.clone(),
                    format!("KEY={token}"),
                    format!("const k = \"{token}\";"),
                    format!("curl -H 'api-key: {token}' https://x"),
                    format!("https://x/?apikey={token}&a=b"),
                    format!("a\n{token}\nb"),
                ] {
                    let found = expression
                        .captures(&text)
                        .unwrap_or_else(|| panic!("{text}"));
                    assert_eq!(&found[1], token, "{text}");
                }
            }
        }
    }

    #[test]
    fn near_misses_are_not_found() {
        for (prefix, expression) in gitleaks_expressions()
            .into_iter()
            .chain(github_expressions())
        {
            for token in tokens(&prefix) {
                let body = token.strip_prefix(&format!("{prefix}_")).unwrap();
                for text in [
                    body.to_owned(),
                    format!("x{token}"),
                    format!("{token}x"),
                    format!("{prefix}-{body}"),
                    format!("{prefix}_{}", body.split_at(1).1),
                    format!("{}_{body}", prefix.to_uppercase()),
                    format!("{prefix}_{}.{}", body.split_at(20).0, body.split_at(21).1),
                    format!("other_{token}"),
                ] {
                    assert!(!expression.is_match(&text), "{text}");
                }
            }
        }
    }

    #[test]
    fn a_rule_of_one_prefix_finds_no_token_of_another() {
        for (prefix, expression) in gitleaks_expressions() {
            for other in PREFIXES.into_iter().filter(|other| *other != prefix) {
                for token in tokens(other) {
                    // `clv_live_…` has 53 characters behind `clv_`: the shorter prefix does not fit them.
                    assert!(!expression.is_match(&token), "{prefix} {token}");
                }
            }
        }
    }
}
