//! Standing in for the terminal: this program's standard streams, signals and window, joined to a process in a
//! container. Shared by `run`, `start`, `attach` and `exec`.

pub(crate) mod keys;
mod output;
pub(crate) mod signals;
mod stdin;
pub(crate) mod terminal;

use std::future::pending;

use engine_core::Container;
use engine_core::runtime::driver::ExitRecord;
use engine_core::runtime::session::{Frame, Session, SessionInput, SessionOutput};
use engine_core::spec::{Signal, TerminalSize};
use tokio::sync::mpsc;

use self::keys::{DetachKeys, Filter};
use self::output::Output;
use self::signals::Signals;
use self::stdin::Input;
use self::terminal::RawMode;
use crate::exit::{Failure, Outcome, SIGNAL, of_program};
use crate::render::tell;

/// Docker's patience: the third wish to end is obeyed at once, whatever the container does.
const PATIENCE: usize = 3;

/// What the process knows of the terminal's size, where it runs on one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Screen {
    /// It was made with that size.
    Known,
    /// Nothing: it was made elsewhere, and begins now.
    Unknown,
    /// It has drawn its screen for another terminal, and is to draw it anew.
    Drawn,
}

/// How to join the streams.
#[derive(Debug)]
pub(crate) struct How {
    /// The process runs on a terminal of its own.
    pub(crate) tty: bool,
    /// Standard input is read for it.
    pub(crate) stdin: bool,
    /// Signals are for the container; otherwise they end this program, in good order.
    pub(crate) proxy: bool,
    /// The keys that detach.
    pub(crate) keys: DetachKeys,
    /// What it knows of this terminal.
    pub(crate) screen: Screen,
}

/// Streams that are about to be joined.
#[derive(Debug)]
pub(crate) struct Attachment {
    how: How,
    signals: Option<Signals>,
    resized: Option<Signals>,
}

impl Attachment {
    /// Prepares to join a process. From here on, signals to this program are caught, so that none is lost between
    /// the start of the process and the joining.
    ///
    /// # Errors
    /// What catching signals gave.
    pub(crate) fn prepare(how: How) -> Result<Attachment, Failure> {
        let signals = match how.proxy {
            true => Some(Signals::passed_on()?),
            false if how.is_raw() => Some(Signals::ending()?),
            false => None,
        };
        let resized = if how.tty && terminal::size().is_some() { Some(Signals::resized()?) } else { None };
        Ok(Attachment { how, signals, resized })
    }
}

impl How {
    /// Whether this terminal is handed over key by key.
    fn is_raw(&self) -> bool {
        self.tty && self.stdin && terminal::is_stdin()
    }
}

/// How an attachment ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The process ended so.
    Exited(ExitRecord),
    /// The connection ended without a word of how the process did.
    Lost,
    /// The user typed the keys that detach.
    Detached,
    /// This program was told to end by that signal.
    Interrupted(i32),
}

/// Joins the streams until one side ends. `container` is whom signals are for.
///
/// # Errors
/// A connection or standard stream that broke.
pub(crate) async fn attach(
    session: Session,
    container: Option<&Container>,
    attachment: Attachment,
) -> Result<Ended, Failure> {
    let Attachment { how, mut signals, mut resized } = attachment;
    let terminal = rustix::stdio::stdin();
    let is_raw = how.is_raw();
    // Held to the end of this function, however it ends.
    let _raw = if is_raw { Some(RawMode::enter(&terminal)?) } else { None };
    let filter = is_raw.then(|| Filter::new(how.keys));
    let typed = if how.stdin { Some(stdin::read(filter)?) } else { None };
    let (input, output) = session.split();
    let to = if how.proxy { container } else { None };
    tokio::select! {
        biased;
        ended = listen(output) => ended,
        () = talk(input, typed, resized.as_mut(), how.screen) => Ok(Ended::Detached),
        number = obey(signals.as_mut(), to) => Ok(Ended::Interrupted(number)),
    }
}

/// Writes what the process says.
async fn listen(mut output: SessionOutput) -> Result<Ended, Failure> {
    let (stdout, stderr) = (Output::stdout(), Output::stderr());
    while let Some(frame) = output.next().await? {
        match frame {
            Frame::Stdout(bytes) => stdout.write(&bytes).await?,
            Frame::Stderr(bytes) => stderr.write(&bytes).await?,
            Frame::Exited(record) => return Ok(Ended::Exited(record)),
            _ => {}
        }
    }
    Ok(Ended::Lost)
}

/// Tells the process what is typed and how large the window is; returns when the user detaches. A process that takes
/// nothing more is no failure here: what it says last is still to be read.
async fn talk(
    mut input: SessionInput,
    mut typed: Option<mpsc::Receiver<Input>>,
    mut resized: Option<&mut Signals>,
    screen: Screen,
) {
    if screen != Screen::Known
        && resized.is_some()
        && let Some(size) = terminal::size()
    {
        if screen == Screen::Drawn {
            // A size that does not change makes nobody draw.
            let other =
                TerminalSize { rows: size.rows.saturating_add(1), columns: size.columns.saturating_add(1) };
            let _ = input.resize(other).await;
        }
        let _ = input.resize(size).await;
    }
    loop {
        tokio::select! {
            next = next_input(&mut typed) => match next {
                Input::Bytes(bytes) => {
                    if input.write(&bytes).await.is_err() {
                        typed = None;
                    }
                }
                Input::End => {
                    typed = None;
                    let _ = input.close().await;
                }
                Input::Detach => return,
            },
            () = window_changed(&mut resized) => {
                if let Some(size) = terminal::size() {
                    let _ = input.resize(size).await;
                }
            }
        }
    }
}

async fn next_input(typed: &mut Option<mpsc::Receiver<Input>>) -> Input {
    match typed {
        Some(typed) => typed.recv().await.unwrap_or(Input::End),
        None => pending().await,
    }
}

async fn window_changed(resized: &mut Option<&mut Signals>) {
    match resized {
        Some(resized) => drop(resized.next().await),
        None => pending().await,
    }
}

/// Passes signals on, or returns with the one that ends this program.
async fn obey(signals: Option<&mut Signals>, container: Option<&Container>) -> i32 {
    let Some(signals) = signals else { return pending().await };
    let mut wishes = 0;
    loop {
        let number = signals.next().await;
        let Some(container) = container else { return number };
        wishes += usize::from(signals::asks_to_end(number));
        if wishes >= PATIENCE {
            tell(&format!("\ngot {PATIENCE} SIGTERM/SIGINTs, forcefully exiting\n"));
            return number;
        }
        if let Ok(signal) = Signal::try_from(number) {
            // The container may have ended a moment ago.
            let _ = container.kill(signal).await;
        }
    }
}

/// The exit code that the end of an attachment to a container's first process means. Records the end of the
/// container, too, which also removes one that is to remove itself.
///
/// # Errors
/// How the container ended cannot be found out.
pub(crate) async fn exit_code(container: &Container, ended: Ended) -> Outcome {
    match ended {
        // It goes on without this program.
        Ended::Exited(seen) if seen.again => Ok(of_program(seen.code)),
        Ended::Exited(seen) => match container.wait().await {
            Ok(record) => Ok(of_program(record.code)),
            // Another process was quicker to remove it.
            Err(e) if e.is(engine_core::ErrorKind::NotFound) => Ok(of_program(seen.code)),
            Err(e) => {
                tell(&Failure::from(e).report());
                Ok(of_program(seen.code))
            }
        },
        Ended::Lost => Ok(of_program(container.wait().await?.code)),
        Ended::Detached => {
            tell("read escape sequence\n");
            // It may have ended, and be gone, a moment ago.
            let _ = container.detached().await;
            Ok(0)
        }
        Ended::Interrupted(number) => Ok(SIGNAL.saturating_add(of_program(number))),
    }
}

#[cfg(test)]
mod tests;
