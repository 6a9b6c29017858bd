//! `claviger routes`: what is done.

use prost_types::FieldMask;
use serde_json::{Value, json};

use super::{
    CreateArgs, DeleteArgs, MatchArgs, RoutesArgs, RoutesCommand, SettingsArgs, UpdateArgs,
};
use crate::cli::connect::{Connection, Output};
use crate::cli::failure::{Exit, Failure};
use crate::cli::io::Io;
use crate::cli::page::Listing;
use crate::cli::{MAX_ANSWER, input, json as to_json, show, table};
use crate::grpc::proto::v1;

type Client = v1::routes_client::RoutesClient<Connection>;

pub(in crate::cli) async fn run(args: RoutesArgs, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let output = args.common.output.output;
    let connection = args.common.connect(io).await?;
    let mut client = Client::new(connection).max_decoding_message_size(MAX_ANSWER);
    let workspace = args.workspace.workspace;
    match args.command {
        RoutesCommand::Create(args) => create(&mut client, workspace, *args, output, io).await?,
        RoutesCommand::Update(args) => update(&mut client, workspace, *args, output, io).await?,
        RoutesCommand::Delete(args) => delete(&mut client, workspace, args, output, io).await?,
        RoutesCommand::Match(args) => return find(&mut client, workspace, args, output, io).await,
        RoutesCommand::Get(args) => {
            let request = v1::GetRouteRequest {
                workspace,
                id: args.id,
            };
            let answer = client.get_route(request).await?.into_inner();
            let route = answer.route.unwrap_or_default();
            show(
                io,
                output,
                || json!({ "route": to_json::route(&route) }),
                |look| table::route(&route, look),
            )?;
        }
        RoutesCommand::List(page) => {
            let fetch = async |page_size, page_token| {
                let request = v1::ListRoutesRequest {
                    workspace: workspace.clone(),
                    page_size,
                    page_token,
                };
                let answer = client.list_routes(request).await?.into_inner();
                Ok((answer.routes, answer.next_page_token))
            };
            let listing = Listing {
                name: "routes",
                json: to_json::route,
                table: table::routes,
                beside: &|| None,
            };
            page.show(fetch, &listing, output, io).await?;
        }
    }
    Ok(Exit::Ok)
}

async fn create(
    client: &mut Client,
    workspace: String,
    args: CreateArgs,
    output: Output,
    io: &mut Io<'_>,
) -> Result<(), Failure> {
    let (settings, _) = settings(args.settings, io)?;
    let request = v1::CreateRouteRequest {
        route: Some(v1::Route {
            workspace,
            id: args.id,
            ..settings
        }),
        request_id: args.request.request_id,
        validate_only: args.validate_only,
        ..Default::default()
    };
    let answer = client.create_route(request).await?.into_inner();
    if args.validate_only {
        io.note("valid; nothing was made");
    }
    saved(answer.route, &answer.revision, &answer.warnings, output, io)
}

async fn update(
    client: &mut Client,
    workspace: String,
    args: UpdateArgs,
    output: Output,
    io: &mut Io<'_>,
) -> Result<(), Failure> {
    let (settings, mut paths) = settings(args.settings, io)?;
    for cleared in args.clear {
        let path = cleared.path();
        if paths.contains(&path) {
            return Err(Failure::usage(format!(
                "`--clear` empties `{path}`, and another option sets it; choose one"
            )));
        }
        paths.push(path);
    }
    if paths.is_empty() {
        return Err(
            Failure::usage("there is nothing to change").hint("`--help` lists the settings")
        );
    }
    let request = v1::UpdateRouteRequest {
        route: Some(v1::Route {
            workspace,
            id: args.id,
            etag: args.etag,
            ..settings
        }),
        update_mask: Some(FieldMask {
            paths: paths.into_iter().map(str::to_owned).collect(),
        }),
        request_id: args.request.request_id,
        validate_only: args.validate_only,
        acknowledge_warnings: args.acknowledge_warnings,
        ..Default::default()
    };
    let answer = client.update_route(request).await?.into_inner();
    if args.validate_only {
        io.note("valid; nothing was changed");
    }
    saved(answer.route, &answer.revision, &answer.warnings, output, io)
}

/// Shows a route that was saved, or would be; people are told the warnings beside it.
fn saved(
    route: Option<v1::Route>,
    revision: &str,
    warnings: &[v1::Warning],
    output: Output,
    io: &mut Io<'_>,
) -> Result<(), Failure> {
    let route = route.unwrap_or_default();
    if output == Output::Table {
        for warning in warnings {
            io.note(format_args!("warning: {}", table::clean(&warning.message)));
        }
    }
    let json = || {
        json!({
            "route": to_json::route(&route),
            "revision": revision,
            "warnings": warnings.iter().map(to_json::warning).collect::<Vec<_>>(),
        })
    };
    show(io, output, json, |look| table::route(&route, look))
}

async fn delete(
    client: &mut Client,
    workspace: String,
    args: DeleteArgs,
    output: Output,
    io: &mut Io<'_>,
) -> Result<(), Failure> {
    let request = v1::DeleteRouteRequest {
        workspace,
        id: args.id.clone(),
        etag: args.etag,
        request_id: args.request.request_id,
        ..Default::default()
    };
    let revision = client.delete_route(request).await?.into_inner().revision;
    if output == Output::Table {
        io.note(format_args!("deleted route `{}`", args.id));
        return Ok(());
    }
    show(
        io,
        output,
        || json!({ "revision": revision }),
        |_| String::new(),
    )
}

async fn find(
    client: &mut Client,
    workspace: String,
    args: MatchArgs,
    output: Output,
    io: &mut Io<'_>,
) -> Result<Exit, Failure> {
    let request = v1::MatchRouteRequest {
        workspace,
        host: args.host,
        method: args.method,
        path: args.path,
    };
    let answer = client.match_route(request).await?.into_inner();
    let json = || {
        json!({
            "route": answer.route.as_ref().map_or(Value::Null, to_json::route),
            "captures": answer.captures,
            "refusal": answer.refusal,
        })
    };
    if output == Output::Json || answer.route.is_some() {
        show(io, output, json, |look| table::matched(&answer, look))?;
    } else if answer.refusal.is_empty() {
        io.note("no route takes this request");
    } else {
        io.note(format_args!(
            "the request is refused: {}",
            table::clean(&answer.refusal)
        ));
    }
    Ok(match answer.route {
        Some(_) => Exit::Ok,
        None => Exit::Failed,
    })
}

/// The settings that were given, and their paths.
fn settings(
    args: SettingsArgs,
    io: &mut Io<'_>,
) -> Result<(v1::Route, Vec<&'static str>), Failure> {
    let mut paths = Vec::new();
    let factors_given = !args.claims.is_empty()
        || !args.present.is_empty()
        || args.key_header.is_some()
        || !args.header_values.is_empty();
    for (given, path) in [
        (args.display_name.is_some(), "display_name"),
        (!args.hosts.is_empty(), "hosts"),
        (args.path.is_some(), "path"),
        (!args.methods.is_empty(), "methods"),
        (!args.grpc.is_empty(), "grpc"),
        (!args.scopes.is_empty(), "required_scopes"),
        (!args.any_scopes.is_empty(), "any_of_scopes"),
        (args.subscription.is_some(), "subscription"),
        (factors_given, "factors"),
        (!args.locations.is_empty(), "locations"),
        (args.access.is_some(), "access"),
        (args.claims_hosts.is_some(), "claims_hosts"),
        (!args.labels.is_empty(), "labels"),
    ] {
        if given {
            paths.push(path);
        }
    }
    let factors = factors(&args, io)?;
    let route = v1::Route {
        display_name: args.display_name.unwrap_or_default(),
        hosts: args.hosts,
        path: args.path.unwrap_or_default(),
        methods: args.methods,
        grpc: args.grpc,
        required_scopes: args.scopes,
        any_of_scopes: args.any_scopes,
        subscription: args.subscription,
        factors,
        locations: args.locations,
        access: args.access.map_or(0, |access| access.number()),
        claims_hosts: args.claims_hosts.unwrap_or_default(),
        labels: args.labels.into_iter().collect(),
        ..Default::default()
    };
    Ok((route, paths))
}

fn factors(args: &SettingsArgs, io: &mut Io<'_>) -> Result<Vec<v1::Factor>, Failure> {
    use v1::factor::Factor;
    use v1::header_factor::Demand;
    let header = |name: &str, demand| {
        Factor::Header(v1::HeaderFactor {
            name: name.to_owned(),
            demand: Some(demand),
            forward: false,
        })
    };
    let mut factors = Vec::new();
    for claim in &args.claims {
        factors.push(Factor::Jwt(v1::JwtFactor {
            payload: args.jwt_payload.clone().unwrap_or_default(),
            ..claim.clone()
        }));
    }
    for name in &args.present {
        factors.push(header(name, Demand::Present(true)));
    }
    if let Some((name, scope)) = &args.key_header {
        factors.push(header(name, Demand::KeyWithScope(scope.clone())));
    }
    for (name, file) in &args.header_values {
        let text = input::token(file, io)?;
        let values = text.lines().filter(|line| !line.is_empty());
        let one_of = v1::HeaderValues {
            values: values.map(str::to_owned).collect(),
            tags: Vec::new(),
        };
        factors.push(header(name, Demand::OneOf(one_of)));
    }
    Ok(factors
        .into_iter()
        .map(|factor| v1::Factor {
            factor: Some(factor),
        })
        .collect())
}
