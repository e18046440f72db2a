//! Taking a container away. Needs only its names, may run twice, and goes on past failures. All calls block.

use std::path::Path;
use std::time::{Duration, Instant};

use engine_shim::status;
use engine_shim::wire::Kind;

use super::client::{self, Client, Meaning};
use super::{Host, execs, pause, program, state};
use crate::error::{Error, ErrorKind, Faults, Result, Subject};
use crate::runtime::driver::Place;
use crate::spec::Signal;

/// How long a killed container may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take when all its processes were killed one by one.
const LAST_PATIENCE: Duration = Duration::from_secs(20);

/// Kills what is left of the container and takes away what was made for it.
pub(super) fn delete(host: &Host, place: &Place) -> Result<()> {
    end(host, place)?;
    clean(host, place)
}

/// Ends the container, if it runs, and waits until its monitor has done its part.
fn end(host: &Host, place: &Place) -> Result<()> {
    if let Some(client) = Client::connect(place)? {
        // It may be at its end already.
        let _ = client.send(Kind::Signal, &client::signal(Signal::KILL, Meaning::End), &[]);
        pause::lift(host, place)?;
        if !client.outlive(PATIENCE)? {
            // A frozen one does not take the signal.
            host.cgroups.kill(&place.cgroup)?;
            client.outlive(LAST_PATIENCE)?;
        }
    }
    let deadline = Instant::now() + LAST_PATIENCE;
    let mut pause = Duration::from_micros(200);
    while state::is_looked_after(place)? {
        if Instant::now() > deadline {
            return Err(Error::new(ErrorKind::TimedOut, client::name(place))
                .because("it was killed and does not end")
                .with_remedy("look for a process that waits for a broken disk or network file system"));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    Ok(())
}

/// Takes away what was made for a container that nobody looks after.
pub(super) fn clean(host: &Host, place: &Place) -> Result<()> {
    // What another one looks after is not ours to take away.
    if state::is_looked_after(place)? {
        return Ok(());
    }
    let mut faults = Faults::new();
    // A monitor that came to its end has removed the group. One that was killed leaves it, with those in it that had
    // no namespace of processes of their own.
    let left = host.cgroups.find(&place.cgroup).dirs.iter().any(|directory| Path::new(directory).exists());
    if left {
        faults.note(host.cgroups.kill(&place.cgroup));
    }
    match &host.program {
        Some(program) => {
            if left {
                faults.note(program::delete(host, program, place));
            }
            faults.note(host.cgroups.remove_everywhere(&place.cgroup));
            program::clean(place, &mut faults);
        }
        None if left => faults.note(host.cgroups.remove(&place.cgroup)),
        None => {}
    }
    for name in ["control", status::FILE, pause::MARK, "monitor"] {
        let path = place.run_dir.join(name);
        faults.note(std::fs::remove_file(&path).subject(|| path.display().to_string()));
    }
    faults.note(execs::clear(place));
    faults.note(remove_run_dir(&place.run_dir));
    faults.into_result()
}

fn remove_run_dir(path: &Path) -> Result<()> {
    match std::fs::remove_dir(path) {
        // Others keep things there as well.
        Err(e) if e.kind() == std::io::ErrorKind::DirectoryNotEmpty => Ok(()),
        result => result.subject(|| format!("directory {}", path.display())),
    }
}
