//! Another process in a running container, for a caller who looks after it by itself.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use engine_shim::plan::Direct;
use engine_shim::wire::Kind;
use oci_spec::runtime::{Capability, LinuxCapabilities, Process, User, UserBuilder};
use rustix::process::{Pid, PidfdFlags, Signal};

use super::create::{check_console, streams};
use super::signal::wrong_state;
use super::{OciId, OciRuntime, Status, bundle, client, descriptors, name, not_running, process, record};
use crate::error::{Error, Result};
use crate::runtime::linux::client::Client;
use crate::runtime::linux::create::encode;
use crate::runtime::linux::plan;
use crate::spec::TerminalSize;

/// Another process: a document, or the container's own process with changes.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Execution {
    /// A file with the process as a configuration has it. The changes below do not count then.
    pub process: Option<PathBuf>,
    /// The program and its arguments.
    pub args: Vec<String>,
    /// The working directory.
    pub cwd: Option<PathBuf>,
    /// Further variables: `KEY=value`.
    pub env: Vec<String>,
    /// It has a terminal.
    pub terminal: bool,
    /// User and group, by number.
    pub user: Option<(u32, Option<u32>)>,
    /// Further groups.
    pub additional_gids: Vec<u32>,
    /// It may not gain privileges.
    pub no_new_privileges: bool,
    /// Capabilities to add, in the specification's words.
    pub capabilities: Vec<String>,
    /// The label of SELinux, in place of the container's.
    pub selinux: Option<String>,
    /// The profile of AppArmor, in place of the container's.
    pub apparmor: Option<String>,
    /// The connection that the master of its terminal goes to.
    pub console: Option<OwnedFd>,
    /// The connection that its pidfd goes to.
    pub pidfd: Option<OwnedFd>,
    /// The first size of its terminal, in place of the one that the process says.
    pub terminal_size: Option<TerminalSize>,
    /// What the program gets from number 3 on.
    pub preserved: Vec<OwnedFd>,
    /// Start it even if the container is paused; it begins when that ends.
    pub ignore_paused: bool,
    /// A group within the container's.
    pub cgroup: Option<String>,
}

impl OciRuntime {
    /// Whether the process will have a terminal, which the caller then has to take.
    ///
    /// # Errors
    /// The document cannot be read.
    pub fn has_terminal(&self, execution: &Execution) -> Result<bool> {
        match &execution.process {
            Some(path) => Ok(bundle::process(path)?.terminal().unwrap_or(false)),
            None => Ok(execution.terminal),
        }
    }

    /// Starts the process; gives its number. It has the standard streams of this process, unless it has a terminal.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if the container does not run; why the program cannot be
    /// executed.
    pub fn exec(&self, id: &OciId, execution: Execution) -> Result<u32> {
        let record = self.record(id)?;
        match self.status(id, &record)? {
            Status::Stopped => return Err(wrong_state(id, "cannot exec in a stopped container")),
            Status::Paused if !execution.ignore_paused => {
                return Err(wrong_state(
                    id,
                    "cannot exec in a paused container (use --ignore-paused to override)",
                ));
            }
            _ => {}
        }
        let spec = record::configuration(&self.directory(id))?;
        let process = describe(&execution, spec.process().as_ref())?;
        check_console(process.terminal().unwrap_or(false), execution.console.is_some())?;
        let preserved = u32::try_from(execution.preserved.len()).unwrap_or(u32::MAX);
        let cgroup = match &execution.cgroup {
            None => self.host.cgroups.find_beside(&record.cgroup, || Some(record.pid)),
            Some(below) => self.host.cgroups.find(&format!("{}/{}", record.cgroup, below.trim_matches('/'))),
        };
        let direct = Direct { preserved, keyring: false };
        let mut plan = plan::exec_direct(&process, &spec, (id.as_str(), &record.bundle), direct, cgroup)?;
        plan.process.agent.iter_mut().for_each(|agent| agent.container = record.pid);
        plan.terminal_size =
            execution.terminal_size.map(|size| (size.rows, size.columns)).or(plan.terminal_size);
        let target = i32::try_from(record.pid).ok().and_then(Pid::from_raw).ok_or_else(|| not_running(id))?;
        let target = rustix::process::pidfd_open(target, PidfdFlags::empty()).map_err(|_| not_running(id))?;
        if process::begin(record.pid)? != Some(record.begun) {
            return Err(not_running(id));
        }
        let mut descriptors = vec![target];
        descriptors.extend(streams()?);
        descriptors.extend(execution.preserved);
        descriptors.extend(execution.console);
        let (control, first) = self.host.shim.start(&format!("exec in {id}"))?;
        let client = Client::named(control, name(id))?;
        let passed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        client.send(Kind::PlanExec, &encode(&plan)?, &passed)?;
        drop((first, descriptors));
        client.wait_for(None)?;
        let pid = client::number(&client.expect(Kind::Started)?)
            .ok_or_else(|| Error::internal(name(id), "the helper did not say which process it is"))?;
        // Until the helper is told to leave, the number is that of no other process.
        descriptors::send_pidfd(execution.pidfd, pid, "setns").inspect_err(|_| kill(pid))?;
        let helper = process::Helper::of(pid)?;
        // Which tells the helper to leave.
        drop(client);
        helper.await_leave();
        Ok(pid)
    }
}

fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

/// The process that is meant.
fn describe(execution: &Execution, own: Option<&Process>) -> Result<Process> {
    if let Some(path) = &execution.process {
        return bundle::process(path);
    }
    let mut process = own.cloned().unwrap_or_default();
    if execution.args.is_empty() {
        return Err(Error::invalid("the command", "process args cannot be empty"));
    }
    process.set_args(Some(execution.args.clone()));
    process.set_terminal(Some(execution.terminal));
    if let Some(cwd) = &execution.cwd {
        process.set_cwd(cwd.clone());
    }
    process.env_mut().get_or_insert_default().extend_from_slice(&execution.env);
    if execution.no_new_privileges {
        process.set_no_new_privileges(Some(true));
    }
    if let Some(label) = &execution.selinux {
        process.set_selinux_label(Some(label.clone()));
    }
    if let Some(profile) = &execution.apparmor {
        process.set_apparmor_profile(Some(profile.clone()));
    }
    if execution.user.is_some() || !execution.additional_gids.is_empty() {
        process.set_user(user(execution, process.user())?);
    }
    if !execution.capabilities.is_empty() {
        let sets = process.capabilities().clone().unwrap_or_default();
        process.set_capabilities(Some(with_capabilities(sets, &execution.capabilities)?));
    }
    Ok(process)
}

fn user(execution: &Execution, own: &User) -> Result<User> {
    let (uid, gid) = match execution.user {
        Some((uid, gid)) => (uid, gid.unwrap_or_else(|| own.gid())),
        None => (own.uid(), own.gid()),
    };
    let mut groups = own.additional_gids().clone().unwrap_or_default();
    groups.extend_from_slice(&execution.additional_gids);
    let mut user = UserBuilder::default().uid(uid).gid(gid).additional_gids(groups);
    if let Some(umask) = own.umask() {
        user = user.umask(umask);
    }
    user.build().map_err(|e| Error::invalid("the user", "it is not complete").caused_by(e))
}

/// Adds capabilities to all sets, as runc does.
fn with_capabilities(mut sets: LinuxCapabilities, names: &[String]) -> Result<LinuxCapabilities> {
    for name in names {
        let capability: Capability = name
            .strip_prefix("CAP_")
            .unwrap_or(name)
            .parse()
            .map_err(|_| Error::invalid(format!("capability {name:?}"), "unknown capability"))?;
        let add = |set: &Option<std::collections::HashSet<Capability>>| {
            let mut set = set.clone().unwrap_or_default();
            set.insert(capability);
            Some(set)
        };
        let (bounding, effective) = (add(sets.bounding()), add(sets.effective()));
        let (permitted, inheritable) = (add(sets.permitted()), add(sets.inheritable()));
        let ambient = add(sets.ambient());
        sets.set_bounding(bounding).set_effective(effective).set_permitted(permitted);
        sets.set_inheritable(inheritable).set_ambient(ambient);
    }
    Ok(sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Process {
        serde_json::from_str(
            r#"{"user":{"uid":5,"gid":6,"umask":18,"additionalGids":[7]},"cwd":"/srv","args":["own"],
                "env":["A=1"],"terminal":true,"capabilities":{"bounding":["CAP_KILL"]}}"#,
        )
        .expect("is a process")
    }

    #[test]
    fn what_is_not_changed_is_the_container_s_own() {
        let args = vec!["true".to_owned()];
        let plain = Execution { args: args.clone(), ..Execution::default() };
        let process = describe(&plain, Some(&own())).expect("is one");
        assert_eq!(*process.args(), Some(args.clone()));
        assert_eq!(
            (process.cwd().as_path(), process.terminal()),
            (std::path::Path::new("/srv"), Some(false))
        );
        assert_eq!(process.user(), own().user());
        assert_eq!(process.capabilities(), own().capabilities());

        let changed = Execution {
            args,
            cwd: Some("/tmp".into()),
            env: vec!["B=2".to_owned()],
            user: Some((8, None)),
            additional_gids: vec![9],
            no_new_privileges: true,
            selinux: Some("label".to_owned()),
            apparmor: Some("profile".to_owned()),
            capabilities: vec!["CAP_CHOWN".to_owned()],
            ..Execution::default()
        };
        let process = describe(&changed, Some(&own())).expect("is one");
        assert_eq!(process.cwd().as_path(), std::path::Path::new("/tmp"));
        assert_eq!(process.env().clone(), Some(vec!["A=1".to_owned(), "B=2".to_owned()]));
        let user = process.user();
        assert_eq!((user.uid(), user.gid(), user.umask()), (8, 6, Some(18)));
        assert_eq!(*user.additional_gids(), Some(vec![7, 9]));
        assert_eq!(process.no_new_privileges(), Some(true));
        assert_eq!(process.selinux_label().as_deref(), Some("label"));
        assert_eq!(process.apparmor_profile().as_deref(), Some("profile"));
        let sets = process.capabilities().clone().expect("has some");
        assert_eq!(sets.bounding().clone().map(|set| set.len()), Some(2));
        assert_eq!(sets.ambient().clone().map(|set| set.len()), Some(1));
    }

    #[test]
    fn a_process_without_a_command_or_with_an_unknown_capability_is_refused() {
        let nothing = describe(&Execution::default(), Some(&own())).expect_err("has no command");
        assert!(nothing.to_string().contains("process args cannot be empty"), "{nothing}");
        let odd = Execution {
            args: vec!["true".to_owned()],
            capabilities: vec!["CAP_FLY".to_owned()],
            ..Execution::default()
        };
        assert!(describe(&odd, Some(&own())).expect_err("is unknown").to_string().contains("CAP_FLY"));
    }
}
