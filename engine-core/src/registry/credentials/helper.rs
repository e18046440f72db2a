//! Programs that keep credentials: `docker-credential-<name> get`, the server on its input, JSON on its output.

use std::io::{ErrorKind as Io, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Deserialize;

use super::credential;
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::registry::driver::Credential;

/// A helper may have to ask the user for a pass phrase.
const PATIENCE: Duration = Duration::from_secs(60);
const MAX_ANSWER: usize = 1 << 20;
/// How often a helper that has closed its output, but goes on, is looked at.
const GLANCE: Duration = Duration::from_millis(5);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// A helper at work. It ends with us, whatever happens.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It was waited for already in the good case; then both do nothing.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks the helper of that name for the server's credential.
pub(super) fn get(name: &str, server: &str) -> Result<Option<Credential>> {
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return Err(Error::invalid(format!("credential helper {name:?}"), "it is not the name of a program"));
    }
    let program = format!("docker-credential-{name}");
    run(Command::new(&program).arg("get"), server, &|| format!("credential helper {program}"))
}

/// Runs the command, which is a helper that `subject` names.
pub(super) fn run(
    command: &mut Command,
    server: &str,
    subject: &dyn Fn() -> String,
) -> Result<Option<Credential>> {
    let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut helper = match started {
        Ok(child) => Running(child),
        Err(e) if e.kind() == Io::NotFound => {
            return Err(Error::new(ErrorKind::NotFound, subject())
                .because("it is not installed, or not in PATH")
                .with_remedy("install it, or take it out of docker's configuration and log in again"));
        }
        Err(e) => return Err(Error::io(subject(), e)),
    };
    if let Some(mut input) = helper.0.stdin.take() {
        // A helper that does not read what it is asked will fail on its own account. Dropping it ends the input.
        let _ = writeln!(input, "{server}");
    }
    let deadline = Instant::now() + PATIENCE;
    let output = read(&mut helper.0, deadline, subject)?;
    let fine = ended_well(&mut helper.0, deadline, subject)?;
    if let (true, Ok(answer)) = (fine, serde_json::from_slice::<Answer>(&output)) {
        return Ok(credential(answer.username, answer.secret));
    }
    if String::from_utf8_lossy(&output).contains("credentials not found") {
        return Ok(None);
    }
    Err(Error::new(ErrorKind::Unavailable, subject()).because(match fine {
        true => "its answer is not what a helper answers".to_owned(),
        false => format!("it failed: {}", first_line(&output)),
    }))
}

/// All that the helper writes.
fn read(helper: &mut Child, deadline: Instant, subject: &dyn Fn() -> String) -> Result<Vec<u8>> {
    let mut output = Vec::new();
    let Some(stdout) = helper.stdout.as_mut() else { return Ok(output) };
    let mut buffer = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| Error::internal(subject(), "no such time"))?;
        match poll(&mut [PollFd::new(&*stdout, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Err(too_late(subject())),
            Err(rustix::io::Errno::INTR) => continue,
            result => result.subject(subject)?,
        };
        match stdout.read(&mut buffer).subject(subject)? {
            0 => return Ok(output),
            n if output.len() + n > MAX_ANSWER => {
                return Err(Error::new(ErrorKind::LimitExceeded, subject()).because("its answer has no end"));
            }
            n => output.extend_from_slice(&buffer[..n]),
        }
    }
}

/// Whether the helper ended as one that did what it was asked.
fn ended_well(helper: &mut Child, deadline: Instant, subject: &dyn Fn() -> String) -> Result<bool> {
    loop {
        match helper.try_wait() {
            Ok(Some(status)) => return Ok(status.success()),
            Ok(None) if Instant::now() > deadline => return Err(too_late(subject())),
            Ok(None) => std::thread::sleep(GLANCE),
            // The host program has its children waited for by itself; the answer has to speak for itself.
            Err(_) => return Ok(true),
        }
    }
}

fn too_late(subject: String) -> Error {
    Error::new(ErrorKind::TimedOut, subject)
        .because(format!("no answer within {} seconds", PATIENCE.as_secs()))
}

/// By the protocol, what a helper that fails writes is the reason.
fn first_line(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect()
}
