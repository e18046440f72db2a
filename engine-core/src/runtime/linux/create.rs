//! Building a container, up to its first instruction. All calls block.

use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

use engine_shim::plan::ContainerPlan;
use engine_shim::wire::{self, Kind};
use oci_spec::runtime::LinuxResources;
use serde::Serialize;

use super::client::{self, Client, Meaning};
use super::{Host, delete, execs, plan, program, state};
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::runtime::driver::{Bundle, Created, Place};
use crate::spec::Signal;

/// How long a container that is not wanted any more may take to end.
const FAREWELL: Duration = Duration::from_secs(30);

/// Begins to build the container; the connection is that over which it can be started. Dropping it gives it up.
pub(super) fn create(host: &Host, bundle: &Bundle) -> Result<(Created, Client)> {
    let mut plan = plan::container(bundle, &host.cgroups.mounts())?;
    if let Some(program) = &host.program {
        plan = program::container(program, bundle, plan)?;
    }
    let place = &bundle.place;
    if state::is_looked_after(place)? {
        return Err(Error::new(ErrorKind::Conflict, client::name(place)).because("it is running already"));
    }
    make_run_dir(&place.run_dir)?;
    execs::clear(place)?;
    // That of an earlier run would pass for this one's.
    match std::fs::remove_file(&place.exit_record) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io(format!("exit record {}", place.exit_record.display()), e));
        }
        _ => {}
    }
    build(host, bundle, plan).inspect_err(|_| {
        // What went wrong is known; what does not go away now, `delete` has another try at.
        let _ = delete::clean(host, place);
    })
}

fn build(host: &Host, bundle: &Bundle, mut plan: ContainerPlan) -> Result<(Created, Client)> {
    let place = &bundle.place;
    let (control, first) = host.shim.start(&bundle.title)?;
    // While the helper program comes up.
    let nothing = LinuxResources::default();
    let resources = bundle.spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    // Another program sets limits by itself.
    let resources = resources.filter(|_| host.program.is_none());
    plan.program_link = host
        .shim
        .link_to_make()
        .map(|link| plan::text(link, "the link to the helper program"))
        .transpose()?;
    plan.cgroup = host.cgroups.create(&place.cgroup, resources.unwrap_or(&nothing))?;
    let client = Client::over(control, place)?;
    let shm = bundle.shm.iter().map(AsFd::as_fd);
    let held: Vec<_> = bundle.held.iter().map(AsFd::as_fd).chain(shm).collect();
    client.send(Kind::PlanContainer, &encode(&plan)?, &held)?;
    drop(first);
    let created = client.expect(Kind::Created)?;
    let pid = client::number(&created)
        .ok_or_else(|| Error::internal(client::name(place), "its monitor did not say which process it is"))?;
    let netns = created.descriptors.into_iter().next();
    Ok((Created { pid, netns }, client))
}

/// A plan as the payload of a frame.
pub(super) fn encode(plan: &impl Serialize) -> Result<Vec<u8>> {
    let mut payload = Vec::with_capacity(4096);
    payload.extend_from_slice(&wire::VERSION.to_be_bytes());
    let payload = postcard::to_extend(plan, payload)
        .map_err(|e| Error::internal("the plan of a container", "it has no encoding").caused_by(e))?;
    if payload.len() > wire::MAX_PAYLOAD {
        return Err(Error::new(ErrorKind::LimitExceeded, "the configuration").because(format!(
            "with all arguments and variables it is longer than {} bytes",
            wire::MAX_PAYLOAD
        )));
    }
    Ok(payload)
}

/// Waits until the container is built, and lets its program begin.
pub(super) fn start(host: &Host, place: &Place, client: Client) -> Result<Client> {
    let begun = client.send(Kind::Start, &[], &[]).and_then(|()| client.expect(Kind::Started));
    match begun {
        Ok(_) => Ok(client),
        Err(e) => {
            let _ = abandon(host, place, client);
            Err(e)
        }
    }
}

/// Gives up a container that has not begun, and takes away what was made.
pub(super) fn abandon(host: &Host, place: &Place, client: Client) -> Result<()> {
    let _ = client.send(Kind::Signal, &client::signal(Signal::KILL, Meaning::End), &[]);
    let _ = client.outlive(FAREWELL);
    drop(client);
    delete::clean(host, place)
}

/// The directory that nobody else may look into: whoever can connect to the socket in it controls the container.
fn make_run_dir(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .subject(|| format!("directory {}", path.display()))
}
