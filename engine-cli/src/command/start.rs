//! `engine start`.

use engine_core::spec::AttachSpec;
use engine_core::{Container, Engine, ErrorKind, Result};

use super::each::tell_failure;
use super::inspect::{is_set, section};
use crate::app::App;
use crate::args::container::Start;
use crate::attach::{self, Attachment, How, Screen, terminal};
use crate::exit::{Failure, Outcome};
use crate::render::print;

/// Starts containers; with `--attach` or `--interactive` a single one, to stand in for its terminal.
pub(super) async fn start(args: Start, app: App) -> Outcome {
    if args.attach || args.interactive {
        return start_attached(args, &app).await;
    }
    let engine = app.engine().await?;
    let mut failed = Vec::new();
    for name in &args.containers {
        match start_one(&engine, name).await {
            Ok(()) => print(&format!("{name}\n"))?,
            Err(e) => {
                tell_failure(&e.into());
                failed.push(name.as_str());
            }
        }
    }
    match failed.is_empty() {
        true => Ok(0),
        false => Err(Failure::new(format!("failed to start containers: {}", failed.join(", ")))),
    }
}

async fn start_one(engine: &Engine, name: &str) -> Result<()> {
    match engine.containers().get(name).await?.start().await {
        // It runs already, which is what was asked for.
        Err(e) if e.is(ErrorKind::NotModified) => Ok(()),
        started => started,
    }
}

async fn start_attached(args: Start, app: &App) -> Outcome {
    let [name] = args.containers.as_slice() else {
        return Err(Failure::new("you cannot start and attach multiple containers at once"));
    };
    let engine = app.engine().await?;
    let container: Container = engine.containers().get(name).await?;
    let info = container.inspect().await?;
    let config = section(&info.details, "Config");
    let tty = is_set(config, "Tty");
    let streams = AttachSpec::new(args.interactive && is_set(config, "OpenStdin"), true, true);
    terminal::require(streams.stdin, tty)?;
    let keys = app.detach_keys(args.detach_keys.as_deref(), &app.config())?;
    let running = info.state.running;
    let screen = if running { Screen::Drawn } else { Screen::Unknown };
    let attachment = Attachment::prepare(How { tty, stdin: streams.stdin, proxy: !tty, keys, screen })?;
    let session = match running {
        true => container.attach(streams).await?,
        false => container.start_attached(streams).await?,
    };
    let ended = attach::attach(session, Some(&container), attachment).await?;
    attach::exit_code(&container, ended).await
}
