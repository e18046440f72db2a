//! `engine attach`.

use engine_core::spec::AttachSpec;

use super::inspect::{is_set, section};
use crate::app::App;
use crate::args::container::Attach;
use crate::attach::{self, Attachment, How, Screen, terminal};
use crate::exit::{Failure, Outcome};

/// Stands in for the terminal of a container that runs.
pub(super) async fn attach(args: Attach, app: App) -> Outcome {
    let engine = app.engine().await?;
    let container = engine.containers().get(&args.container).await?;
    let info = container.inspect().await?;
    if !info.state.running {
        return Err(Failure::new("You cannot attach to a stopped container, start it first"));
    }
    let config = section(&info.details, "Config");
    let tty = is_set(config, "Tty");
    let streams = AttachSpec::new(!args.no_stdin && is_set(config, "OpenStdin"), true, true);
    terminal::require(streams.stdin, tty)?;
    let keys = app.detach_keys(args.detach_keys.as_deref(), &app.config())?;
    let (stdin, proxy) = (streams.stdin, args.sig_proxy && !tty);
    let attachment = Attachment::prepare(How { tty, stdin, proxy, keys, screen: Screen::Drawn })?;
    let session = container.attach(streams).await?;
    let ended = attach::attach(session, Some(&container), attachment).await?;
    attach::exit_code(&container, ended).await
}
