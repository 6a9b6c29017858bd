//! `claviger keys create` and `regenerate`: new secrets, and the one time their tokens are shown.

use serde_json::{Value, json};

use super::run::{Client, apply};
use super::{CreateArgs, RegenerateArgs, SourceArgs, TokenOutput};
use crate::cli::connect::Output;
use crate::cli::failure::{Exit, Failure};
use crate::cli::fleet::settle;
use crate::cli::io::Io;
use crate::cli::{input, json as to_json, names, show, table};
use crate::grpc::proto::v1;

pub(super) async fn create(
    client: &mut Client,
    workspace: String,
    args: CreateArgs,
    output: Output,
    io: &mut Io<'_>,
) -> Result<(), Failure> {
    let mut key = v1::Key {
        display_name: args.name,
        enabled: args.disabled.then_some(false),
        ..Default::default()
    };
    apply(args.settings, &mut key, io.now)?;
    let prefix = args.source.prefix.clone();
    let request = v1::CreateKeyRequest {
        workspace,
        key: Some(key),
        primary: source(args.source, io)?,
        secondary: args.two_slots.then(|| generate(prefix)),
        request_id: args.request_id,
        validate_only: args.validate_only,
    };
    let answer = client.create_key(request).await?.into_inner();
    let key = answer.key.unwrap_or_default();
    if args.validate_only {
        io.note("valid; nothing was made");
        return show(
            io,
            output,
            || json!({"key": to_json::key(&key)}),
            |look| table::key(&key, look),
        );
    }
    let issued = Issued {
        key,
        tokens: answer.tokens,
        withheld: answer.token_withheld,
        revision: answer.revision,
        propagation: None,
    };
    issued
        .hand_over("created", &args.token, client, output, io)
        .await
}

pub(super) async fn regenerate(
    client: &mut Client,
    args: RegenerateArgs,
    output: Output,
    io: &mut Io<'_>,
) -> Result<Exit, Failure> {
    let (wait, wait_deadline) = args.wait.request()?;
    let grace = args.grace.map(prost_types::Duration::try_from).transpose();
    let request = v1::RegenerateSecretRequest {
        key_id: args.id,
        slot: args.slot.number(),
        source: source(args.source, io)?,
        grace: grace.map_err(|_| Failure::usage("`--grace` is too long; at most `90d`"))?,
        force: args.force,
        etag: args.guards.etag,
        request_id: args.guards.request_id,
        wait,
        wait_deadline,
    };
    let answer = client.regenerate_secret(request).await?.into_inner();
    let key = answer.key.unwrap_or_default();
    let issued = Issued {
        key,
        tokens: answer.tokens,
        withheld: answer.token_withheld,
        revision: answer.revision,
        propagation: answer.propagation,
    };
    issued
        .hand_over("regenerated a secret of", &args.token, client, output, io)
        .await?;
    Ok(settle(issued.propagation.as_ref(), io))
}

/// What a call that makes tokens answered.
struct Issued {
    key: v1::Key,
    tokens: Vec<v1::IssuedToken>,
    withheld: bool,
    revision: String,
    /// How far the change has come, where that was waited for.
    propagation: Option<v1::Propagation>,
}

impl Issued {
    /// Writes the tokens to standard output and everything else to standard error; acknowledges only what was written.
    async fn hand_over(
        &self,
        done: &str,
        how: &TokenOutput,
        client: &mut Client,
        output: Output,
        io: &mut Io<'_>,
    ) -> Result<(), Failure> {
        if !how.token_only && output == Output::Json {
            io.print(format_args!("{:#}", self.json()))?;
        } else {
            io.note(format_args!(
                "{done} `{}` ({})",
                self.key.id,
                table::clean(&self.key.display_name)
            ));
            self.print_tokens(how.token_only, io)?;
        }
        io.out.flush()?;
        for warning in &self.key.warnings {
            io.note(format_args!(
                "warning: {} ({})",
                table::clean(&warning.message),
                warning.code
            ));
        }
        if self.withheld {
            return Err(Failure::new(
                Exit::Conflict,
                "this call was made before, and its token is no longer to be had",
            )
            .hint("`claviger keys regenerate` makes a new one"));
        }
        if self.tokens.is_empty() {
            return Ok(());
        }
        if !how.acknowledge {
            io.note("save it now; it is not shown again");
        }
        for token in self.tokens.iter().filter(|_| how.acknowledge) {
            let (key_id, secret_id) = (self.key.id.clone(), token.secret_id.clone());
            client
                .acknowledge_secret(v1::AcknowledgeSecretRequest { key_id, secret_id })
                .await?;
        }
        Ok(())
    }

    fn print_tokens(&self, bare: bool, io: &mut Io<'_>) -> Result<(), Failure> {
        let several = self.tokens.len() > 1;
        for token in &self.tokens {
            if several && !bare {
                let slot = names::slot(token.slot);
                io.print(format_args!("{slot:<10} {}", token.token))?;
            } else {
                io.print(&token.token)?;
            }
        }
        Ok(())
    }

    fn json(&self) -> Value {
        json!({
            "key": to_json::key(&self.key),
            "tokens": self.tokens.iter().map(to_json::issued).collect::<Vec<_>>(),
            "token_withheld": self.withheld,
            "revision": self.revision,
            "propagation": self.propagation.as_ref().map(to_json::propagation),
        })
    }
}

fn generate(prefix: Option<String>) -> v1::SecretSource {
    v1::SecretSource {
        source: Some(v1::secret_source::Source::Generate(v1::GenerateSecret {
            prefix,
        })),
    }
}

fn source(args: SourceArgs, io: &mut Io<'_>) -> Result<Option<v1::SecretSource>, Failure> {
    use v1::secret_source::Source;
    let source = if let Some(path) = &args.external_token_file {
        Source::ExternalToken(v1::ExternalToken {
            token: input::token(path, io)?.to_string(),
            allow_weak: args.allow_weak,
        })
    } else if let Some(sha256_hex) = args.sha256 {
        Source::ExternalDigest(v1::ExternalDigest {
            sha256_hex,
            asserted_entropy_bits: args.asserted_bits.unwrap_or(0),
            allow_weak: args.allow_weak,
        })
    } else {
        return Ok(args.prefix.map(|prefix| generate(Some(prefix))));
    };
    Ok(Some(v1::SecretSource {
        source: Some(source),
    }))
}
