//! `engine exec`.

use engine_core::spec::ExecSpec;

use crate::app::App;
use crate::args::container::Exec;
use crate::attach::{self, Attachment, Ended, How, Screen, terminal};
use crate::exit::{Failure, Outcome, SIGNAL, of_program};
use crate::render::tell;

/// Runs another process in a container, and stands in for its terminal until it ends.
pub(super) async fn exec(args: Exec, app: App) -> Outcome {
    let mut words = args.words.into_iter();
    let name = words.next().unwrap_or_default();
    let stdin = args.interactive && !args.detach;
    terminal::require(stdin, args.tty)?;
    let keys = app.detach_keys(args.detach_keys.as_deref(), &app.config())?;

    let mut spec = ExecSpec::new(words);
    spec.env = args.env_file.into_iter().flatten().chain(args.env).collect();
    spec.working_dir = args.workdir.filter(|path| !path.is_empty());
    spec.user = args.user.filter(|user| !user.is_empty());
    spec.privileged = args.privileged;
    spec.terminal = args.tty;
    spec.terminal_size = if args.tty { terminal::size() } else { None };
    spec.stdin = stdin;
    spec.detach = args.detach;

    let engine = app.engine().await?;
    let container = engine.containers().get(&name).await?;
    if args.detach {
        container.exec(spec).await?;
        return Ok(0);
    }
    // Signals are not passed on: as with docker, they end this program and leave the process alone.
    let attachment =
        Attachment::prepare(How { tty: args.tty, stdin, proxy: false, keys, screen: Screen::Known })?;
    let session = container.exec(spec).await?;
    match attach::attach(session, None, attachment).await? {
        Ended::Exited(record) => Ok(of_program(record.code)),
        Ended::Lost => Err(Failure::new("the connection to the process ended before the process did")
            .with_remedy("the container may have been killed; see 'engine ps --all'")),
        Ended::Detached => {
            tell("read escape sequence\n");
            Ok(0)
        }
        Ended::Interrupted(number) => Ok(SIGNAL.saturating_add(of_program(number))),
    }
}
