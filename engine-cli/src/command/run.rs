//! `engine run`.

use engine_core::spec::RemoveSpec;

use super::create::create_container;
use super::spec::wish;
use crate::app::App;
use crate::args::create::Run;
use crate::attach::{self, Attachment, How, Screen, terminal};
use crate::exit::{Failure, Outcome};
use crate::render::print;

/// Makes a container, starts it, and stands in for its terminal until it ends.
pub(super) async fn run(args: Run, app: App) -> Outcome {
    run_container(args, &app).await.map_err(|failure| failure.of_run(&app.path))
}

async fn run_container(args: Run, app: &App) -> Outcome {
    if !args.detach {
        terminal::require(args.container.interactive, args.container.tty)?;
    }
    let config = app.config();
    let keys = app.detach_keys(args.detach_keys.as_deref(), &config)?;
    let wish = wish(args.container, args.detach, config.proxy_variables())?;
    let (tty, streams, removes_itself) = (wish.spec.terminal, wish.streams, wish.spec.auto_remove);
    let engine = app.engine().await?;
    let container = create_container(&engine, wish).await?;

    let started = if args.detach {
        container.start().await.map(|()| None)
    } else {
        let (stdin, proxy) = (streams.stdin, args.sig_proxy);
        let attachment = Attachment::prepare(How { tty, stdin, proxy, keys, screen: Screen::Known })?;
        container.start_attached(streams).await.map(|session| Some((session, attachment)))
    };
    match started {
        Ok(None) => {
            print(&format!("{}\n", container.id()))?;
            Ok(0)
        }
        Ok(Some((session, attachment))) => {
            let ended = attach::attach(session, Some(&container), attachment).await?;
            attach::exit_code(&container, ended).await
        }
        Err(e) => {
            if removes_itself {
                // The failure to start is what the user has to hear of; the engine may have removed it already.
                let _ = container.remove(RemoveSpec { force: true, volumes: true }).await;
            }
            Err(Failure::from(e))
        }
    }
}
