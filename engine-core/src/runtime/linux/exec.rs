//! Another process in a running container. Blocks.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use engine_shim::wire::Kind;

use super::client::{self, Client};
use super::{Host, create, execs, plan, program, state};
use crate::error::Result;
use crate::runtime::driver::{ExecBundle, Place, State};

/// Starts the process; the socket is the conversation with it.
pub(super) fn exec(host: &Host, place: &Place, exec: &ExecBundle) -> Result<UnixStream> {
    let first = || match state::of(host, place) {
        Ok(State::Running { pid, .. }) => pid,
        _ => None,
    };
    let mut plan = plan::exec(place, exec, host.cgroups.find_beside(&place.cgroup, first))?;
    if let Some(agent) = &mut plan.process.agent {
        agent.container = first().ok_or_else(|| client::not_running(place))?;
    }
    plan.record = exec.record.as_ref().map(|record| execs::prepare(place, record)).transpose()?;
    let process = client::process(place)?;
    let root = match &host.program {
        Some(program) => {
            plan.program = Some(program::exec(program, place, exec)?);
            Some(client::root_of(place, &process)?)
        }
        None => None,
    };
    let given: Vec<_> = [Some(&process), root.as_ref()].into_iter().flatten().map(AsFd::as_fd).collect();
    let (control, first) = host.shim.start(&format!("exec in {}", place.id.short()))?;
    let client = Client::over(control, place)?;
    client.send(Kind::PlanExec, &create::encode(&plan)?, &given)?;
    drop(first);
    match client.expect(Kind::Started) {
        Ok(_) => {}
        // It ended meanwhile; what failed first is chance.
        Err(_) if !state::is_looked_after(place)? => return Err(client::not_running(place)),
        Err(e) => return Err(e),
    }
    client.wait_for(None)?;
    Ok(client.into_socket())
}
