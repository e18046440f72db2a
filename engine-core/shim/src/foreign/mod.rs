//! Containers that another program builds, one with runc's command line: the monitor looks after them as after its own.
//!
//! For each life a child of the monitor, the builder, puts a bundle together on its [desk](desk), has the program create
//! the container of it, waits for the word, and has the program start it. It speaks with the monitor as the first
//! process of a container does that the helper program builds itself ([`sync`]); what it mounted goes with it. The
//! container's first process is nobody's child when the program has ended, and so becomes the monitor's.

mod bundle;
mod call;
mod desk;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD};

use self::call::Call;
use self::desk::Desk;
use crate::failure::{Result, Step};
use crate::hooks;
use crate::identity;
use crate::init::{self, Begun, Stdio};
use crate::namespaces::Kept;
use crate::plan::{ContainerPlan, ExecPlan, Program};
use crate::rootfs::mount_root;
use crate::sync::{self, Message, tell};
use crate::sys::{self, Forked};

/// Where the container's root is mounted in the bundle.
const ROOT: &str = "rootfs";

/// The process that was waited for is here. Orphans of a container that shares the host's namespace of processes are
/// for the host's init, which reaps them.
pub(crate) fn adopted() {
    let _ = sys::prctl(libc::PR_SET_CHILD_SUBREAPER, 0, 0);
}

/// Begins a life. The process is the builder, until it says that there is a first process of the container.
pub(crate) fn build(
    plan: &ContainerPlan,
    program: &Program,
    kept: &Kept,
    stdio: Option<Stdio>,
) -> Result<Begun> {
    aside(|sync| {
        let desk = Desk::make(&program.bundle)?;
        bundle::namespaces(&desk, &plan.namespaces, kept)?;
        bundle::sources(&desk, &plan.mounts)?;
        desk.directory(ROOT)?;
        let root = mount_root(&plan.root.source, &desk.path(ROOT))?;
        if plan.init {
            bundle::init(&desk)?;
        }
        let identity = identity::look_up(root.as_fd(), &plan.process)?;
        bundle::configure(&desk, "config.json", program, &identity, plan.process.umask)?;
        let call = Call { program, desk: &desk };
        let bundle = program.bundle.as_str();
        call.begin(&["create", "--bundle", bundle], stdio, plan.streams.terminal_size, sync)?;
        if rustix::fs::access(program.resources.as_str(), rustix::fs::Access::EXISTS).is_ok() {
            call.run(&["update", "--resources", &program.resources], None)?;
        }
        tell(sync, &Message::Ready).step("tell", "the monitor")?;
        init::wait_for_go(sync)?;
        call.run(&["start"], None)
    })
}

/// Runs another process in the container, whose root directory is `root`.
pub(crate) fn enter(
    plan: &ExecPlan,
    program: &Program,
    root: &OwnedFd,
    stdio: Option<Stdio>,
) -> Result<Begun> {
    aside(|sync| {
        let desk = Desk::make(&program.bundle)?;
        // The program remembers where the root was, and wants a directory there.
        desk.directory(ROOT)?;
        let identity = identity::look_up(root.as_fd(), &plan.process)?;
        bundle::configure(&desk, "process.json", program, &identity, plan.process.umask)?;
        let call = Call { program, desk: &desk };
        let process = desk.path("process.json");
        call.begin(&["exec", "--detach", "--process", &process], stdio, plan.terminal_size, sync)
    })
}

/// Does `work` in a child that ends with this process and tells it how far it is, a failure included. Its number is
/// nobody's business: it is given as 0. Orphans among the descendants of this process become its children from now on,
/// until it has [adopted] one: what the program leaves behind does.
fn aside(work: impl FnOnce(&OwnedFd) -> Result<()>) -> Result<Begun> {
    sys::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0).step("ask for", "orphans")?;
    let (ours, theirs) = sync::pair().step("make", "a socket pair")?;
    match sys::clone(0, None).step("clone", "the builder")? {
        Forked::Child => {
            drop(ours);
            let result = init::guard().and_then(|()| work(&theirs));
            if let Err(failure) = &result {
                let _ = tell(&theirs, &Message::Failed(failure.encode()));
            }
            sys::exit(i32::from(result.is_err()));
        }
        Forked::Parent(pidfd, _) => Ok((pidfd, 0, ours)),
    }
}

/// Ends what is left of the container and has the program forget it. That it does not know it is as good.
pub(crate) fn delete(program: &Program) {
    let _ = hooks::run(program.delete.as_slice(), "");
}

/// Removes the directories that were the program's, which are empty.
pub(crate) fn clear(program: &Program) {
    for directory in [&program.bundle, &program.state] {
        let _ = rustix::fs::unlinkat(CWD, directory.as_str(), AtFlags::REMOVEDIR);
    }
    let _ = rustix::fs::unlinkat(CWD, program.resources.as_str(), AtFlags::empty());
}
