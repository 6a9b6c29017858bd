//! `claviger postbacks`: what is done.

use std::io::Read as _;
use std::path::Path;

use serde_json::json;

use super::{PostbacksArgs, PostbacksCommand, PublishArgs, SigningSecretsCommand};
use crate::cli::connect::{Connection, Output};
use crate::cli::failure::{Exit, Failure};
use crate::cli::io::Io;
use crate::cli::names::{self, DeliveryStateName};
use crate::cli::page::Listing;
use crate::cli::{MAX_ANSWER, json as to_json, show, table};
use crate::grpc::proto::v1;

type Client = v1::postbacks_client::PostbacksClient<Connection>;

/// Most bytes of data that are read: what is more the server would refuse.
const MAX_DATA: u64 = 1_024 * 1_024;

const DELIVERIES: Listing<'static, v1::Delivery> = Listing {
    name: "deliveries",
    json: to_json::delivery,
    table: table::deliveries,
    beside: &|| None,
};

pub(in crate::cli) async fn run(args: PostbacksArgs, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let output = args.common.output.output;
    let connection = args.common.connect(io).await?;
    let mut client = Client::new(connection).max_decoding_message_size(MAX_ANSWER);
    let workspace = args.workspace.workspace;
    match args.command {
        PostbacksCommand::Test(key) => {
            let request = v1::TestPostbackRequest { key_id: key.key };
            let answer = client.test_postback(request).await?.into_inner();
            return test(&answer, output, io);
        }
        PostbacksCommand::Deliveries(args) => {
            let state = args.state.map_or(0, DeliveryStateName::number);
            let fetch = async |page_size, page_token| {
                let request = v1::ListDeliveriesRequest {
                    workspace: workspace.clone(),
                    key_id: args.key.clone(),
                    state,
                    r#type: args.kind.clone(),
                    page_size,
                    page_token,
                };
                let answer = client.list_deliveries(request).await?.into_inner();
                Ok((answer.deliveries, answer.next_page_token))
            };
            args.page.show(fetch, &DELIVERIES, output, io).await?;
        }
        PostbacksCommand::Redeliver(delivery) => {
            let request = v1::RedeliverEventRequest { id: delivery.id };
            let answer = client.redeliver_event(request).await?.into_inner();
            let delivery = answer.delivery.unwrap_or_default();
            show(
                io,
                output,
                || json!({ "delivery": to_json::delivery(&delivery), "revision": answer.revision }),
                |look| table::deliveries(std::slice::from_ref(&delivery), look),
            )?;
        }
        PostbacksCommand::Publish(args) => {
            let request = publication(args, io)?;
            let answer = client.publish_event(request).await?.into_inner();
            let delivery = answer.delivery.unwrap_or_default();
            if answer.duplicate {
                io.note("this event was published before; nothing was changed");
            }
            show(
                io,
                output,
                || json!({ "delivery": to_json::delivery(&delivery), "duplicate": answer.duplicate }),
                |look| table::deliveries(std::slice::from_ref(&delivery), look),
            )?;
        }
        PostbacksCommand::SigningSecrets(args) => {
            signing_secrets(args.command, workspace, &mut client, output, io).await?;
        }
    }
    Ok(Exit::Ok)
}

fn publication(args: PublishArgs, io: &mut Io<'_>) -> Result<v1::PublishEventRequest, Failure> {
    let data_json = args.data.map(|file| data(&file, io)).transpose()?;
    Ok(v1::PublishEventRequest {
        key_id: args.key,
        event_id: args.event_id,
        r#type: args.kind,
        data_json: data_json.unwrap_or_default(),
    })
}

fn data(file: &Path, io: &mut Io<'_>) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        (&mut io.input).take(MAX_DATA).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(MAX_DATA).read_to_string(&mut text))
    };
    read.map_err(|e| Failure::usage(format!("the event's data can't be read: {e}")))?;
    Ok(text)
}

fn test(
    answer: &v1::TestPostbackResponse,
    output: Output,
    io: &mut Io<'_>,
) -> Result<Exit, Failure> {
    show(
        io,
        output,
        || to_json::tested(answer),
        |_| {
            let rows = [
                (
                    "result",
                    if answer.delivered {
                        "DELIVERED".to_owned()
                    } else {
                        names::failure(answer.failure)
                    },
                ),
                ("http status", answer.http_status.to_string()),
                ("event", table::clean(&answer.id)),
            ];
            table::details(&rows)
        },
    )?;
    Ok(if answer.delivered {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

async fn signing_secrets(
    command: SigningSecretsCommand,
    workspace: String,
    client: &mut Client,
    output: Output,
    io: &mut Io<'_>,
) -> Result<(), Failure> {
    let (secret, text, withheld, revision) = match command {
        SigningSecretsCommand::Create(args) => {
            let request = v1::CreateSigningSecretRequest {
                workspace,
                request_id: args.request_id,
            };
            let answer = client.create_signing_secret(request).await?.into_inner();
            (
                answer.signing_secret,
                answer.text,
                answer.text_withheld,
                answer.revision,
            )
        }
        SigningSecretsCommand::Rotate(args) => {
            let overlap = args.overlap.map(prost_types::Duration::try_from);
            let request = v1::RotateSigningSecretRequest {
                workspace,
                overlap: overlap
                    .transpose()
                    .map_err(|_| Failure::usage("`--overlap` is too long; at most `7d`"))?,
                request_id: args.request.request_id,
            };
            let answer = client.rotate_signing_secret(request).await?.into_inner();
            (
                answer.signing_secret,
                answer.text,
                answer.text_withheld,
                answer.revision,
            )
        }
        SigningSecretsCommand::List => {
            let request = v1::ListSigningSecretsRequest { workspace };
            let answer = client.list_signing_secrets(request).await?.into_inner();
            let secrets = answer.signing_secrets;
            if secrets.is_empty() && matches!(output, Output::Table) {
                io.note("no signing secrets: nothing is sent; `claviger postbacks signing-secrets create` makes one");
                return Ok(());
            }
            let list = || {
                secrets
                    .iter()
                    .map(to_json::signing_secret)
                    .collect::<Vec<_>>()
            };
            return show(
                io,
                output,
                || json!({ "signing_secrets": list() }),
                |look| table::signing_secrets(&secrets, look),
            );
        }
    };
    let secret = secret.unwrap_or_default();
    if withheld {
        io.note("the text was in the first answer alone; rotate the secret if it was lost");
    } else {
        io.note(format_args!(
            "signing secret `{}`; its text is shown this once:",
            secret.id
        ));
    }
    show(
        io,
        output,
        || {
            json!({
                "signing_secret": to_json::signing_secret(&secret),
                "text": text,
                "text_withheld": withheld,
                "revision": revision,
            })
        },
        |_| table::clean(&text),
    )
}
