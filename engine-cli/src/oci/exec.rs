//! `exec`: another process in a container.

use engine_core::oci::{self, Console, Execution};

use super::args::Exec;
use super::verbs::{EXEC_FAILED, id, write_pid};
use super::{Call, foreground};
use crate::attach::terminal;
use crate::exit::{Failure, Outcome};

/// Runs the process. Whatever fails before it has begun is a code of its own.
pub(super) fn exec(arguments: Exec, call: &Call) -> Outcome {
    exec_process(arguments, call).map_err(|failure| failure.with_code(EXEC_FAILED))
}

fn exec_process(arguments: Exec, call: &Call) -> Outcome {
    let mut execution = execution(&arguments)?;
    let (container, _) =
        arguments.words.split_first().ok_or_else(|| Failure::new("no container was named"))?;
    let (runtime, id) = (call.runtime()?, id(container)?);
    let mut console = None;
    if !arguments.detach {
        foreground::adopt()?;
        if execution.console.is_none() && runtime.has_terminal(&execution)? {
            let (ours, theirs) = Console::pair()?;
            (console, execution.console) = (Some(ours), Some(theirs));
            execution.terminal_size = terminal::size();
        }
    }
    let pid = runtime.exec(&id, execution)?;
    write_pid(arguments.pid_file.as_deref(), pid)?;
    if arguments.detach {
        return Ok(0);
    }
    foreground::wait(pid, console.map(|console| console.master()).transpose()?)
}

fn execution(arguments: &Exec) -> Result<Execution, Failure> {
    let preserved = oci::inherit(arguments.preserve_fds)?;
    let mut execution = Execution::default();
    execution.preserved = preserved;
    execution.process = arguments.process.clone();
    execution.args = arguments.words.get(1..).unwrap_or_default().to_vec();
    execution.cwd = arguments.cwd.clone();
    execution.env = arguments.env.clone();
    execution.terminal = arguments.tty;
    execution.user = arguments.user.as_deref().map(user).transpose()?;
    execution.additional_gids = arguments.additional_gids.clone();
    execution.no_new_privileges = arguments.no_new_privs;
    execution.capabilities = arguments.cap.clone();
    execution.ignore_paused = arguments.ignore_paused;
    execution.cgroup = arguments.cgroup.clone();
    // One that is empty is that of the container, as with runc.
    let label = |given: &Option<String>| given.clone().filter(|label| !label.is_empty());
    execution.selinux = label(&arguments.process_label);
    execution.apparmor = label(&arguments.apparmor);
    execution.pidfd = arguments.pidfd_socket.as_deref().map(oci::connect_pidfd).transpose()?;
    execution.console = arguments.console_socket.as_deref().map(oci::connect_console).transpose()?;
    Ok(execution)
}

fn user(text: &str) -> Result<(u32, Option<u32>), Failure> {
    let number = |part: &str| {
        part.parse::<u32>()
            .map_err(|_| Failure::new(format!("user {text:?}: it has to be UID[:GID], by number")))
    };
    match text.split_once(':') {
        Some((uid, gid)) => Ok((number(uid)?, Some(number(gid)?))),
        None => Ok((number(text)?, None)),
    }
}
