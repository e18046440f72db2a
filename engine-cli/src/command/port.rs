//! `engine port`.

use engine_core::{Error, ErrorKind};
use serde_json::Value;

use crate::app::App;
use crate::args::container::Port;
use crate::exit::Outcome;
use crate::render::print;

/// Prints where the ports of a container are published: all of them, or one.
pub(super) async fn port(args: Port, app: App) -> Outcome {
    let engine = app.engine().await?;
    let container = engine.containers().get(&args.container).await?;
    let info = container.inspect().await?;
    let none = Value::Null;
    let ports =
        info.details.get("NetworkSettings").and_then(|settings| settings.get("Ports")).unwrap_or(&none);
    let mut lines = Vec::new();
    let wanted = args.port.map(|port| if port.contains('/') { port } else { port + "/tcp" });
    for (port, bindings) in ports.as_object().into_iter().flatten() {
        if wanted.as_ref().is_some_and(|wanted| wanted != port) {
            continue;
        }
        for binding in bindings.as_array().into_iter().flatten() {
            let part = |name: &str| binding.get(name).and_then(Value::as_str).unwrap_or_default();
            let address = match part("HostIp") {
                ip if ip.contains(':') => format!("[{ip}]:{}", part("HostPort")),
                ip => format!("{ip}:{}", part("HostPort")),
            };
            lines.push(match &wanted {
                Some(_) => format!("{address}\n"),
                None => format!("{port} -> {address}\n"),
            });
        }
    }
    match wanted {
        Some(wanted) if lines.is_empty() => {
            Err(Error::new(ErrorKind::NotFound, format!("port {wanted} of container {}", container.name()))
                .because(format!("no public port '{wanted}' published for {}", args.container))
                .with_remedy("publish it with -p when the container is created")
                .into())
        }
        _ => {
            print(&lines.concat())?;
            Ok(0)
        }
    }
}
