//! Making a container, up to the point where its program would begin.

use std::fs::DirBuilder;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use engine_shim::plan::{ContainerPlan, Direct};
use engine_shim::wire::Kind;
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::bundle::Bundle;
use super::record::{self, Record};
use super::start::SOCKET;
use super::{OciId, OciRuntime, client, delete, descriptors, devices, group, name, notify, process};
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::runtime::linux::client::Client;
use crate::runtime::linux::create::encode;
use crate::runtime::linux::plan;
use crate::spec::{TerminalSize, Timestamp};

/// How to make a container.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Creation {
    /// The directory with `config.json`.
    pub bundle: PathBuf,
    /// The connection that the master of its terminal goes to.
    pub console: Option<OwnedFd>,
    /// The connection that the pidfd of its first process goes to.
    pub pidfd: Option<OwnedFd>,
    /// The first size of its terminal, in place of the one that the configuration says.
    pub terminal_size: Option<TerminalSize>,
    /// What its program gets from number 3 on.
    pub preserved: Vec<OwnedFd>,
    /// It keeps the session keyring of the caller.
    pub keep_keyring: bool,
    /// Further variables for its program: `KEY=value`.
    pub env: Vec<String>,
    /// It has a socket for sd_notify(3), which [`OciRuntime::notify`] opens.
    pub notify: bool,
}

impl Creation {
    /// Of the bundle in a directory.
    pub fn of(bundle: impl Into<PathBuf>) -> Creation {
        Creation { bundle: bundle.into(), ..Creation::default() }
    }
}

impl OciRuntime {
    /// Makes a container; gives its first process, which waits for the start. Its program will have the standard
    /// streams of this process, unless it has a terminal.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if there is one of that name; the step that failed otherwise. Nothing is left of the
    /// container then.
    pub fn create(&self, id: &OciId, creation: Creation) -> Result<u32> {
        let mut bundle = Bundle::read(&creation.bundle)?;
        add_env(&mut bundle.spec, &creation.env);
        let directory = self.directory(id);
        if creation.notify {
            notify::add(&mut bundle.spec, &directory)?;
        }
        let terminal = bundle.spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false);
        check_console(terminal, creation.console.is_some())?;
        let cgroup = group::path(&bundle.spec, id, self.systemd_cgroup)?;
        let preserved = u32::try_from(creation.preserved.len()).unwrap_or(u32::MAX);
        let direct = Direct { preserved, keyring: creation.keep_keyring };
        let of = (id.as_str(), bundle.path.as_path(), bundle.rootfs.as_path());
        let mut plan = plan::direct(&bundle.spec, of, direct, &self.host.cgroups.mounts())?;
        let size = creation.terminal_size.map(|size| (size.rows, size.columns));
        plan.streams.terminal_size = size.or(plan.streams.terminal_size);
        make_directory(&self.root, &directory, id)?;
        self.build(id, &bundle, plan, creation, &cgroup).inspect_err(|_| {
            // What went wrong is known; `delete --force` has another try at what does not go away now.
            let _ = delete::take_away(&self.host.cgroups, &directory, Some(&cgroup));
        })
    }

    fn build(
        &self,
        id: &OciId,
        bundle: &Bundle,
        mut plan: ContainerPlan,
        creation: Creation,
        cgroup: &str,
    ) -> Result<u32> {
        let directory = self.directory(id);
        record::keep_configuration(&directory, &bundle.spec)?;
        if creation.notify {
            notify::make_directory(&directory)?;
        }
        let (control, first) = self.host.shim.start(&format!("create {id}"))?;
        // While the helper program comes up.
        let resources = bundle.spec.linux().as_ref().and_then(|linux| linux.resources().clone());
        let mut resources = resources.unwrap_or_default();
        devices::allow(&mut resources)?;
        plan.cgroup = self.host.cgroups.create(cgroup, &resources)?;
        let mut descriptors = vec![listen(&directory)?];
        descriptors.extend(streams()?);
        descriptors.extend(creation.preserved);
        descriptors.extend(creation.console);
        let client = Client::named(control, name(id))?;
        let passed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        client.send(Kind::PlanContainer, &encode(&plan)?, &passed)?;
        drop((first, descriptors));
        // Hooks take the time they take.
        client.wait_for(None)?;
        let pid = client::number(&client.expect(Kind::Created)?)
            .ok_or_else(|| Error::internal(name(id), "the helper did not say which process it is"))?;
        let begun = process::begin(pid)?.ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, name(id)).because("its first process has ended")
        })?;
        descriptors::send_pidfd(creation.pidfd, pid, "standard")?;
        Record {
            oci_version: bundle.spec.version().clone(),
            id: id.to_string(),
            pid,
            begun,
            bundle: bundle.path.clone(),
            rootfs: bundle.rootfs.clone(),
            created: Timestamp::now(),
            annotations: bundle.spec.annotations().clone().unwrap_or_default().into_iter().collect(),
            cgroup: cgroup.to_owned(),
            own_pids: has_own_pids(&bundle.spec),
            owner: rustix::process::geteuid().as_raw(),
        }
        .write(&directory)?;
        let helper = process::Helper::of(pid)?;
        client.send(Kind::Start, &[], &[])?;
        helper.await_leave();
        Ok(pid)
    }
}

fn add_env(spec: &mut Spec, env: &[String]) {
    if let (Some(process), false) = (spec.process_mut(), env.is_empty()) {
        process.env_mut().get_or_insert_default().extend_from_slice(env);
    }
}

/// A terminal and somebody who takes it belong together.
pub(super) fn check_console(terminal: bool, console: bool) -> Result<()> {
    match (terminal, console) {
        (true, false) => Err(Error::invalid(
            "the console socket",
            "cannot allocate tty if runc will detach without setting console socket",
        )),
        (false, true) => Err(Error::invalid(
            "the console socket",
            "cannot use console socket if runc will not detach or allocate tty",
        )),
        _ => Ok(()),
    }
}

/// Copies of the standard streams of this process.
pub(super) fn streams() -> Result<Vec<OwnedFd>> {
    let copy = |stream: std::os::fd::BorrowedFd<'_>| {
        stream.try_clone_to_owned().subject(|| "a standard stream".to_owned())
    };
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    Ok(vec![copy(stdin.as_fd())?, copy(stdout.as_fd())?, copy(stderr.as_fd())?])
}

fn has_own_pids(spec: &Spec) -> bool {
    let namespaces =
        spec.linux().as_ref().and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default();
    namespaces
        .iter()
        .any(|namespace| namespace.typ() == LinuxNamespaceType::Pid && namespace.path().is_none())
}

/// The container's directory, which is its name: nobody else has it.
fn make_directory(root: &Path, directory: &Path, id: &OciId) -> Result<()> {
    let mut private = DirBuilder::new();
    private.mode(0o711).recursive(true).create(root).subject(|| format!("directory {}", root.display()))?;
    match DirBuilder::new().mode(0o711).create(directory) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Error::new(ErrorKind::Conflict, name(id)).because("container with given ID already exists"))
        }
        result => result.subject(|| format!("directory {}", directory.display())),
    }
}

/// The socket on which the container waits for its start. Through a descriptor: the path may be too long for an
/// address.
fn listen(directory: &Path) -> Result<OwnedFd> {
    let subject = || format!("socket {}/{SOCKET}", directory.display());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::open(directory, flags, Mode::empty()).subject(subject)?;
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", parent.as_raw_fd()));
    let kind = (AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC);
    let socket = rustix::net::socket_with(kind.0, kind.1, kind.2, None).subject(subject)?;
    rustix::net::bind(&socket, &address.subject(subject)?).subject(subject)?;
    // Whoever may connect may start the container.
    rustix::fs::chmodat(&parent, SOCKET, Mode::RWXU, rustix::fs::AtFlags::empty()).subject(subject)?;
    rustix::net::listen(&socket, 1).subject(subject)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_wants_somebody_who_takes_it_and_nobody_else_does() {
        check_console(true, true).expect("fits");
        check_console(false, false).expect("fits");
        for (terminal, console) in [(true, false), (false, true)] {
            let error = check_console(terminal, console).expect_err("does not fit");
            assert!(error.to_string().contains("console socket"), "{error}");
        }
    }

    #[test]
    fn processes_are_its_own_in_a_namespace_that_it_does_not_join() {
        let spec = |pid: &str| -> Spec {
            serde_json::from_str(&format!(
                r#"{{"ociVersion":"1.0.2","root":{{"path":"/"}},"linux":{{"namespaces":[{{"type":"mount"}}{pid}]}}}}"#
            ))
            .expect("is a configuration")
        };
        assert!(has_own_pids(&spec(r#",{"type":"pid"}"#)));
        assert!(!has_own_pids(&spec(r#",{"type":"pid","path":"/proc/1/ns/pid"}"#)));
        assert!(!has_own_pids(&spec("")));
    }

    #[test]
    fn a_name_is_taken_once() {
        let root = tempfile::tempdir().expect("a directory");
        let (root, id) = (root.path().join("state"), "web".parse::<OciId>().expect("a name"));
        let directory = root.join("web");
        make_directory(&root, &directory, &id).expect("makes");
        let error = make_directory(&root, &directory, &id).expect_err("is taken");
        assert!(error.is(ErrorKind::Conflict) && error.to_string().contains("already exists"), "{error}");
        let deep = directory.join("d".repeat(200));
        std::fs::create_dir(&deep).expect("makes");
        listen(&deep).expect("a path longer than an address will do");
    }
}
