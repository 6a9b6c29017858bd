//! `claviger export`: all keys of a workspace, in what `claviger import` takes. Never a token; digests for who may see them.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::connect::{EndpointOptions, TokenOptions, WorkspaceOption, connect};
use super::failure::{Exit, Failure};
use super::file::Replacement;
use super::import::COLUMNS;
use super::io::Io;
use super::{MAX_ANSWER, json as to_json};
use crate::grpc::proto::v1;

/// As many as a page may have: fewer calls.
const PAGE: i32 = 1_000;
/// What a secret that is not weak is known to have at least.
const STRONG_BITS: u32 = 112;
/// What a token has that Claviger generated.
const GENERATED_BITS: u32 = 256;

/// Take all keys of a workspace elsewhere.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claviger export > keys.jsonl                                   # an inventory: no tokens, no digests
  claviger export --with-digests --output-file keys.jsonl        # all that another system needs to accept the same tokens
  claviger export --format csv --output-file keys.csv
  claviger export -w old --with-digests | claviger import -w new --format jsonl -

What it writes, `claviger import` takes: an item a line, its `import_id` the key's id. Deleted keys are left out, and so are
revoked and retiring secrets. Digests need the right `claviger:keys:reveal`, and are audited.")]
pub struct ExportArgs {
    #[command(flatten)]
    endpoint: EndpointOptions,
    #[command(flatten)]
    token: TokenOptions,
    #[command(flatten)]
    workspace: WorkspaceOption,
    /// How to write it
    #[arg(long, value_enum, default_value_t = Format::Jsonl, value_name = "FORMAT")]
    format: Format,
    /// Write the SHA-256 of each live token too
    #[arg(long)]
    with_digests: bool,
    /// Write into a file, whole or not at all, for you alone [default: standard output]
    #[arg(long, value_name = "FILE")]
    output_file: Option<PathBuf>,
}

/// How to write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Claviger's own objects, one a line
    Jsonl,
    /// A table, its columns named in the first line
    Csv,
}

/// Runs `export`.
pub(super) async fn run(args: ExportArgs, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let connection = connect(&args.endpoint, &args.token, Some(args.endpoint.timeout), io).await?;
    let mut client =
        v1::key_admin_client::KeyAdminClient::new(connection).max_decoding_message_size(MAX_ANSWER);
    let mut file = match &args.output_file {
        Some(path) => Some(Replacement::of(path).map_err(|error| unwritable(path, &error))?),
        None => None,
    };
    let counts = {
        let out: &mut (dyn Write + Send) = match &mut file {
            Some(file) => file,
            None => &mut io.out,
        };
        export(&mut client, &args, out).await
    };
    let counts = counts.map_err(|failure| match &args.output_file {
        Some(path) => failure.hint(format!("`{}` was not written", path.display())),
        None => failure,
    })?;
    if let (Some(file), Some(path)) = (file, &args.output_file) {
        file.commit().map_err(|error| unwritable(path, &error))?;
    }
    io.note(format_args!("exported {} keys", counts.keys));
    if !args.with_digests && counts.keys > 0 {
        io.note("without digests they can't be imported anywhere: `--with-digests` writes them");
    } else if counts.without > 0 {
        io.note(format_args!(
            "{} of them have no live secret, and can't be imported",
            counts.without
        ));
    }
    Ok(Exit::Ok)
}

fn unwritable(path: &std::path::Path, error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("`{}` can't be written: {error}", path.display()),
    )
}

/// What was written.
#[derive(Debug, Default)]
struct Counts {
    keys: u64,
    /// Keys without a digest.
    without: u64,
}

async fn export(
    client: &mut v1::key_admin_client::KeyAdminClient<super::connect::Connection>,
    args: &ExportArgs,
    out: &mut (dyn Write + Send),
) -> Result<Counts, Failure> {
    let view = if args.with_digests {
        v1::KeyView::WithDigests
    } else {
        v1::KeyView::Unspecified
    };
    let mut counts = Counts::default();
    let mut writer = Writer::new(args.format, out)?;
    let mut page_token = String::new();
    loop {
        let request = v1::ListKeysRequest {
            workspace: args.workspace.workspace.clone(),
            page_size: PAGE,
            page_token,
            view: view.into(),
            ..Default::default()
        };
        let page = client.list_keys(request).await?.into_inner();
        for key in &page.keys {
            let (primary, secondary) = sources(key);
            counts.keys += 1;
            counts.without += u64::from(primary.is_none());
            writer.write(key, primary, secondary)?;
        }
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    writer.end()?;
    Ok(counts)
}

/// The digests of the live secrets. Where only the SECONDARY one lives it comes first: an import has at least that.
fn sources(key: &v1::Key) -> (Option<v1::ExternalDigest>, Option<v1::ExternalDigest>) {
    let of = |slot: v1::Slot| {
        let active = i32::from(v1::secret::State::Active);
        key.secrets
            .iter()
            .find(|s| s.slot == i32::from(slot) && s.state == active && !s.sha256_hex.is_empty())
            .map(digest)
    };
    match (of(v1::Slot::Primary), of(v1::Slot::Secondary)) {
        (None, secondary) => (secondary, None),
        both => both,
    }
}

fn digest(secret: &v1::Secret) -> v1::ExternalDigest {
    let generated = secret.origin == i32::from(v1::secret::Origin::Generated);
    v1::ExternalDigest {
        sha256_hex: secret.sha256_hex.clone(),
        asserted_entropy_bits: match (secret.weak, generated) {
            (true, _) => 0,
            (false, true) => GENERATED_BITS,
            (false, false) => STRONG_BITS,
        },
        allow_weak: secret.weak,
    }
}

/// Writes keys in one of the formats.
enum Writer<'a> {
    Jsonl(BufWriter<&'a mut (dyn Write + Send)>),
    Csv(Box<csv::Writer<&'a mut (dyn Write + Send)>>),
}

impl<'a> Writer<'a> {
    fn new(format: Format, out: &'a mut (dyn Write + Send)) -> Result<Self, Failure> {
        Ok(match format {
            Format::Jsonl => Self::Jsonl(BufWriter::new(out)),
            Format::Csv => {
                let mut csv = csv::Writer::from_writer(out);
                csv.write_record(COLUMNS.iter().filter(|name| is_written(name)))
                    .map_err(std::io::Error::from)?;
                Self::Csv(Box::new(csv))
            }
        })
    }

    fn write(
        &mut self,
        key: &v1::Key,
        primary: Option<v1::ExternalDigest>,
        secondary: Option<v1::ExternalDigest>,
    ) -> Result<(), Failure> {
        match self {
            Self::Jsonl(out) => writeln!(out, "{}", item(key, primary, secondary))?,
            Self::Csv(csv) => {
                let columns = COLUMNS.iter().filter(|name| is_written(name));
                let cells =
                    columns.map(|name| cell(name, key, primary.as_ref(), secondary.as_ref()));
                csv.write_record(cells).map_err(std::io::Error::from)?;
            }
        }
        Ok(())
    }

    fn end(self) -> Result<(), Failure> {
        match self {
            Self::Jsonl(mut out) => out.flush()?,
            Self::Csv(mut csv) => csv.flush()?,
        }
        Ok(())
    }
}

/// Tokens are in no export.
fn is_written(column: &str) -> bool {
    !column.ends_with("token")
}

fn item(
    key: &v1::Key,
    primary: Option<v1::ExternalDigest>,
    secondary: Option<v1::ExternalDigest>,
) -> Value {
    let source = |digest: v1::ExternalDigest| {
        json!({"external_digest": {
            "sha256_hex": digest.sha256_hex,
            "asserted_entropy_bits": digest.asserted_entropy_bits,
            "allow_weak": digest.allow_weak,
        }})
    };
    let mut settings = to_json::key(key);
    if let Some(map) = settings.as_object_mut() {
        // What is of this place and moment alone.
        for name in [
            "secrets",
            "warnings",
            "etag",
            "update_time",
            "delete_time",
            "purge_time",
        ] {
            map.remove(name);
        }
    }
    let mut item = json!({"import_id": key.id, "key": settings});
    for (name, digest) in [("primary", primary), ("secondary", secondary)] {
        if let (Some(map), Some(digest)) = (item.as_object_mut(), digest) {
            map.insert(name.to_owned(), source(digest));
        }
    }
    item
}

fn cell(
    column: &str,
    key: &v1::Key,
    primary: Option<&v1::ExternalDigest>,
    secondary: Option<&v1::ExternalDigest>,
) -> String {
    let time = |at: Option<&prost_types::Timestamp>| at.map(to_json::rfc3339).unwrap_or_default();
    let digest = if column.starts_with("secondary_") {
        secondary
    } else {
        primary
    };
    match column.strip_prefix("secondary_").unwrap_or(column) {
        "import_id" | "id" => key.id.clone(),
        "display_name" => key.display_name.clone(),
        "description" => key.description.clone(),
        "sha256_hex" => digest.map(|d| d.sha256_hex.clone()).unwrap_or_default(),
        "asserted_bits" => digest
            .map(|d| d.asserted_entropy_bits.to_string())
            .unwrap_or_default(),
        "allow_weak" => digest.map(|d| d.allow_weak.to_string()).unwrap_or_default(),
        "scopes" => key.scopes.join(";"),
        "scope_source" => super::names::scope_source(key.scope_source),
        "principal" => key.principal.clone(),
        "subscriptions" => key.subscriptions.join(";"),
        "allowed_cidrs" => key.allowed_cidrs.join(";"),
        "expire_time" => time(key.expire_time.as_ref()),
        "create_time" => time(key.create_time.as_ref()),
        "last_used_time" => time(key.last_used_time.as_ref()),
        "enabled" => key.enabled.map(|on| on.to_string()).unwrap_or_default(),
        "labels" => labels(key),
        "postback_url" => key.postback_url.clone(),
        "off_the_record" => key.off_the_record.to_string(),
        "shadow" => key
            .enforcement
            .as_ref()
            .map(super::table::in_shadow)
            .unwrap_or_default()
            .join(";"),
        "workspace" => key.workspace.clone(),
        "state" => super::names::key_state(key.state),
        _ => String::new(),
    }
}

/// Labels as pairs; as JSON where a pair could be misread.
fn labels(key: &v1::Key) -> String {
    let odd = |text: &String| text.contains([';', '{']) || text.trim() != text;
    if key.labels.values().any(odd) {
        return json!(key.labels).to_string();
    }
    let pairs: Vec<_> = key
        .labels
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join(";")
}
