//! `claviger check --batch`: many decisions, a thousand in a call.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::Client;
use crate::cli::connect::{EndpointOptions, Output};
use crate::cli::failure::{Exit, Failure};
use crate::cli::fields::{Fault, Fields};
use crate::cli::io::Io;
use crate::cli::table::{Look, Widths};
use crate::cli::{json as to_json, table};
use crate::grpc::proto::v1;
use v1::batch_check_result::Result as Answer;

/// The most that a call takes.
const AT_ONCE: usize = 1_000;

/// What holds where a line does not say it.
pub(super) struct Defaults {
    pub(super) request: v1::CheckRequest,
    /// How a credential travels.
    pub(super) presentation: i32,
}

/// Asks for a decision about each line of a file.
pub(super) async fn run(
    client: &mut Client,
    path: &Path,
    defaults: &Defaults,
    endpoint: &EndpointOptions,
    output: Output,
    io: &mut Io<'_>,
) -> Result<Exit, Failure> {
    let reader: Box<dyn Read + Send> = if path == Path::new("-") {
        std::mem::replace(&mut io.input, Box::new(std::io::empty()))
    } else {
        Box::new(File::open(path).map_err(|error| unreadable(&error))?)
    };
    let mut lines = BufReader::new(reader);
    let mut number = 0;
    let mut asked = false;
    let mut all_allowed = true;
    let widths = Widths::default();
    loop {
        let (numbers, checks) = next(&mut lines, &mut number, defaults)?;
        if checks.is_empty() {
            break;
        }
        asked = true;
        let count = checks.len();
        let request = endpoint.request(v1::BatchCheckRequest { checks });
        let results = client.batch_check(request).await?.into_inner().results;
        if results.len() != count {
            let message = format!("the server answered {} checks of {count}", results.len());
            return Err(Failure::new(Exit::Failed, message));
        }
        let rows: Vec<_> = numbers.into_iter().zip(results).collect();
        all_allowed &= rows.iter().all(|(_, result)| is_allow(result));
        match output {
            Output::Json => {
                for (number, result) in rows {
                    io.print(shown(number, result))?;
                }
            }
            Output::Table => {
                let text = table::checks(&rows, Look::of(io).in_pages(&widths));
                io.print(text)?;
            }
        }
        io.out.flush()?;
    }
    if !asked {
        return Err(Failure::usage("the file of `--batch` has no request in it"));
    }
    // Anything but a clear ALLOW for each is none.
    Ok(if all_allowed { Exit::Ok } else { Exit::Failed })
}

fn unreadable(error: &std::io::Error) -> Failure {
    Failure::usage(format!("the file can't be read: {error}"))
}

fn is_allow(result: &v1::BatchCheckResult) -> bool {
    matches!(&result.result, Some(Answer::Response(answer)) if answer.decision == i32::from(v1::Decision::Allow))
}

fn shown(line: u64, result: v1::BatchCheckResult) -> Value {
    match result.result {
        Some(Answer::Response(answer)) => {
            json!({"line": line, "response": to_json::check(&answer)})
        }
        Some(Answer::Error(error)) => json!({
            "line": line,
            "error": {"reason": error.reason, "message": error.message, "field": error.field},
        }),
        None => json!({ "line": line }),
    }
}

/// Reads the checks of the next call, with the numbers of their lines.
fn next(
    lines: &mut BufReader<Box<dyn Read + Send>>,
    number: &mut u64,
    defaults: &Defaults,
) -> Result<(Vec<u64>, Vec<v1::CheckRequest>), Failure> {
    let (mut numbers, mut checks) = (Vec::new(), Vec::new());
    while checks.len() < AT_ONCE {
        let mut line = Zeroizing::new(Vec::new());
        if lines
            .read_until(b'\n', &mut line)
            .map_err(|error| unreadable(&error))?
            == 0
        {
            break;
        }
        *number += 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let wrong = |fault: Fault| {
            let field = if fault.field.is_empty() {
                String::new()
            } else {
                format!("`{}` ", fault.field)
            };
            Failure::usage(format!("line {number}: {field}{}", fault.message))
        };
        let map: Map<String, Value> = serde_json::from_slice(&line).map_err(|error| {
            wrong(Fault::new(
                "",
                format!("is no JSON object (near column {})", error.column()),
            ))
        })?;
        checks.push(check(Fields::of(map), defaults).map_err(wrong)?);
        numbers.push(*number);
    }
    Ok((numbers, checks))
}

/// A check as the API has it; what it does not say is as the options say.
fn check(mut f: Fields, defaults: &Defaults) -> Result<v1::CheckRequest, Fault> {
    let mut request = defaults.request.clone();
    for (name, field) in [
        ("workspace", &mut request.workspace),
        ("source_ip", &mut request.source_ip),
        ("subscription", &mut request.subscription),
        ("at_least_revision", &mut request.at_least_revision),
    ] {
        if let Some(text) = f.text(name)? {
            *field = text;
        }
    }
    for (name, field) in [
        ("required_scopes", &mut request.required_scopes),
        ("any_of_scopes", &mut request.any_of_scopes),
    ] {
        let list = f.list(name)?;
        if !list.is_empty() {
            *field = list;
        }
    }
    if let Some(mut credential) = f.object("credential")? {
        let presentation = match credential.text("presentation")? {
            None => defaults.presentation,
            Some(way) => v1::Presentation::from_str_name(&format!("PRESENTATION_{way}"))
                .ok_or_else(|| {
                    Fault::new(
                        credential.at("presentation"),
                        "must be `HEADER`, `BEARER`, `BASIC` or `QUERY`",
                    )
                })?
                .into(),
        };
        request.credential = Some(v1::Credential {
            token: credential.text("token")?.unwrap_or_default(),
            presentation,
        });
        credential.end("`token`, `presentation`")?;
    }
    f.end("`credential`, `required_scopes`, `any_of_scopes`, `subscription`, `source_ip`, `workspace`, `at_least_revision`")?;
    Ok(request)
}
