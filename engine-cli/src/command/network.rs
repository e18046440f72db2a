//! `engine network`: creating, listing and removing.

use std::fmt::Display;
use std::net::IpAddr;

use engine_core::network::NetworkInfo;
use engine_core::spec::NetworkSpec;
use engine_core::{Error, ErrorKind};

use super::each::tell_failure;
use super::filter::filter;
use crate::app::App;
use crate::args::network::{Create, Ls, Rm};
use crate::args::parse::network::Range;
use crate::exit::Outcome;
use crate::render::list::{List, Row, Shape};
use crate::render::text::short_id;
use crate::render::{list, print, time};

const LIST: List = List {
    fields: &[
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("CreatedAt", "CREATED AT"),
    ],
    table: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
    quiet: "ID",
};

/// Makes a network and prints its identifier.
pub(super) async fn create(args: Create, app: App) -> Outcome {
    if !args.ipv4 {
        return Err(Error::new(ErrorKind::Unsupported, "flag --ipv4=false")
            .because("networks of this engine have IPv4 addresses")
            .with_remedy("leave the flag away")
            .into());
    }
    let mut spec = NetworkSpec::new(args.name.parse()?);
    spec.driver = args.driver;
    spec.enable_ipv6 = args.ipv6;
    for subnet in args.subnet {
        match subnet {
            Range::V4(subnet) => once("subnet", &mut spec.subnet, subnet)?,
            Range::V6(subnet) => once("subnet", &mut spec.ipv6.subnet, subnet)?,
        }
    }
    for gateway in args.gateway {
        match gateway {
            IpAddr::V4(gateway) => once("gateway", &mut spec.gateway, gateway)?,
            IpAddr::V6(gateway) => once("gateway", &mut spec.ipv6.gateway, gateway)?,
        }
    }
    for range in args.ip_range {
        match range {
            Range::V4(range) => once("ip-range", &mut spec.ip_range, range)?,
            Range::V6(range) => once("ip-range", &mut spec.ipv6.ip_range, range)?,
        }
    }
    spec.internal = args.internal;
    spec.options = args.opt.into_iter().collect();
    spec.labels = args.label.into_iter().collect();
    let engine = app.engine().await?;
    let network = engine.networks().create(spec).await?;
    print(&format!("{}\n", network.id))?;
    Ok(0)
}

/// A network has one subnet of each family, and what goes with it once.
fn once<T: Display>(flag: &str, place: &mut Option<T>, value: T) -> Result<(), Error> {
    match place.replace(value) {
        None => Ok(()),
        Some(first) => Err(Error::invalid(
            format!("flag --{flag}"),
            format!("it is given twice for one family of addresses, first as {first}"),
        )
        .with_remedy("give it once for IPv4, and once for IPv6")),
    }
}

/// Lists networks, by name.
pub(super) async fn ls(args: Ls, app: App) -> Outcome {
    let configured = if args.format.is_none() && !args.quiet { app.config().networks_format } else { None };
    let shape = Shape::of(&LIST, args.format.as_deref(), args.quiet, configured.as_deref(), LIST.table);
    let engine = app.engine().await?;
    let mut networks = engine.networks().list(&filter(args.filter)).await?;
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    let rows: Vec<Row> = networks.iter().map(|network| row(network, args.no_trunc)).collect();
    print(&list::render(&LIST, &shape, &rows)?)?;
    Ok(0)
}

fn row(network: &NetworkInfo, whole: bool) -> Row {
    let id = network.id.as_str();
    Row::new([
        ("ID", if whole { id } else { short_id(id) }.to_owned()),
        ("Name", network.name.clone()),
        ("Driver", network.driver.clone()),
        ("Scope", network.scope.to_owned()),
        ("IPv4", network.enable_ipv4.to_string()),
        ("IPv6", network.enable_ipv6.to_string()),
        ("Internal", network.internal.to_string()),
        ("CreatedAt", time::full_with_fraction(network.created)),
    ])
    .with_labels(&network.labels)
}

/// Unmakes networks, one after the other, and prints the names of those that are gone. As with docker, `--force`
/// forgives those that do not exist.
pub(super) async fn rm(args: Rm, app: App) -> Outcome {
    let engine = app.engine().await?;
    let mut code = 0;
    for name in &args.names {
        match engine.networks().remove(name).await {
            Ok(_) => print(&format!("{name}\n"))?,
            Err(e) if args.force && e.is(ErrorKind::NotFound) => {}
            Err(e) => {
                tell_failure(&e.into());
                code = 1;
            }
        }
    }
    Ok(code)
}
