//! The few system calls that `rustix` does not offer. All `unsafe` of the program, apart from its entry.
#![expect(unsafe_code, reason = "system calls; each has its safety note")]

use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::ptr;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::{Errno, Result};

use crate::plan::Scheduler;

fn check(result: libc::c_long) -> Result<libc::c_long> {
    if result >= 0 {
        return Ok(result);
    }
    // SAFETY: __errno_location gives a pointer to the calling thread's errno, valid for as long as the thread.
    Err(Errno::from_raw_os_error(unsafe { *libc::__errno_location() }))
}

/// Which side of a fork a process is.
pub(crate) enum Forked {
    /// The new process.
    Child,
    /// The old one; the new one as a pidfd and by number.
    Parent(OwnedFd, u32),
}

/// The arguments of clone3(2), as of Linux 5.7.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// With it a [clone] is a child of this process's parent, which is told of its end.
pub(crate) const SIBLING: u32 = libc::CLONE_PARENT as u32;

/// A copy of this process in new namespaces, the `CLONE_NEW*` flags, and in the group whose directory is `cgroup`.
/// See clone(2).
pub(crate) fn clone(namespaces: u32, cgroup: Option<BorrowedFd<'_>>) -> Result<Forked> {
    const CLONE_INTO_CGROUP: u64 = 1 << 33;
    let mut pidfd: libc::c_int = -1;
    let into = if cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 };
    let args = CloneArgs {
        flags: u64::from(namespaces) | libc::CLONE_PIDFD as u64 | into,
        cgroup: cgroup.map_or(0, |cgroup| cgroup.as_raw_fd() as u64),
        pidfd: &raw mut pidfd as u64,
        exit_signal: if namespaces & SIBLING != 0 { 0 } else { libc::SIGCHLD as u64 },
        ..CloneArgs::default()
    };
    // SAFETY: `args` and `pidfd` live and the group's descriptor is open until the call returns. Without CLONE_VM and with no stack given it is a fork:
    // the child goes on here with a copy of all memory. The program has one thread, so no lock can be left held.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) })?;
    if pid == 0 {
        return Ok(Forked::Child);
    }
    // SAFETY: the call succeeded in the parent, so `pidfd` is a new descriptor that nobody else owns.
    Ok(Forked::Parent(unsafe { OwnedFd::from_raw_fd(pidfd) }, pid as u32))
}

/// A copy of this process, by its number; `None` in the copy. Unlike [`clone`] it works under a filter that knows no
/// clone3.
pub(crate) fn fork() -> Result<Option<i32>> {
    // SAFETY: the program has one thread, so no lock can be left held in the child.
    let pid = check(unsafe { libc::fork() }.into())?;
    Ok((pid != 0).then_some(pid as i32))
}

/// Sends signal number `signal` to the process `pid`. See kill(2).
pub(crate) fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: takes integers.
    check(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}

/// Kills the process `pid`, that of `pidfd`, which begins or has begun a session, with what it started in that.
pub(crate) fn kill_session(pid: i32, pidfd: BorrowedFd<'_>) {
    let _ = kill(-pid, libc::SIGKILL);
    let _ = pidfd_send_signal(pidfd, libc::SIGKILL);
}

/// Sends signal number `signal` to the process that `pidfd` stands for. See pidfd_send_signal(2).
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    let info = ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open for the whole call; a null info means that of kill(2).
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, 0) }).map(drop)
}

/// Ends this process, without the C library's own farewell.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: does not return; nothing in this program has to be run at exit.
    unsafe { libc::_exit(code) }
}

/// Moves this process to new namespaces, the `CLONE_NEW*` flags. See unshare(2).
pub(crate) fn unshare(namespaces: u32) -> Result<()> {
    // SAFETY: takes an integer and touches no memory of ours; CLONE_FILES, CLONE_FS and CLONE_SYSVSEM are not used.
    check(unsafe { libc::unshare(namespaces as libc::c_int) }.into()).map(drop)
}

/// Moves this process to the namespace, or with a pidfd to the namespaces, of `fd`. See setns(2).
pub(crate) fn setns(fd: BorrowedFd<'_>, namespaces: u32) -> Result<()> {
    // SAFETY: the descriptor is open for the whole call.
    check(unsafe { libc::setns(fd.as_raw_fd(), namespaces as libc::c_int) }.into()).map(drop)
}

/// Brings up the loopback of the network namespace that this process is in. See netdevice(7).
pub(crate) fn raise_loopback() -> Result<()> {
    #[repr(C)]
    struct Request {
        name: [u8; libc::IFNAMSIZ],
        flags: libc::c_short,
        /// The rest of the largest variant of `struct ifreq`.
        rest: [u8; 22],
    }
    // Any socket will do, and this kind is there without networks.
    let (family, kind) = (rustix::net::AddressFamily::UNIX, rustix::net::SocketType::DGRAM);
    let socket = rustix::net::socket_with(family, kind, rustix::net::SocketFlags::CLOEXEC, None)?;
    let mut name = [0; libc::IFNAMSIZ];
    name[..2].copy_from_slice(b"lo");
    let request = Request { name, flags: libc::IFF_UP as libc::c_short, rest: [0; 22] };
    // SAFETY: the socket is open, and `request`, which is as long as a `struct ifreq`, lives until the call returns.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) }.into())
        .map(drop)
}

/// The attributes of mount_setattr(2).
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Changes the attributes of the mount `fd`, and with `recursive` of those below it. See mount_setattr(2).
pub(crate) fn mount_setattr(
    fd: BorrowedFd<'_>,
    recursive: bool,
    set: u64,
    clear: u64,
    propagation: u32,
) -> Result<()> {
    set_mount(fd, recursive, &MountAttr { set, clear, propagation: propagation.into(), userns_fd: 0 })
}

/// Maps the owners of what the mount `fd` shows as the user namespace `users` does. See mount_setattr(2).
pub(crate) fn map_mount(fd: BorrowedFd<'_>, recursive: bool, users: BorrowedFd<'_>) -> Result<()> {
    const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;
    let userns_fd = users.as_raw_fd() as u64;
    set_mount(fd, recursive, &MountAttr { set: MOUNT_ATTR_IDMAP, clear: 0, propagation: 0, userns_fd })
}

fn set_mount(fd: BorrowedFd<'_>, recursive: bool, attr: &MountAttr) -> Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, the descriptors are open and `attr` lives until the call returns and its size is passed along.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// Makes what is at the directory `put_old` of the new root the old one. See pivot_root(2).
pub(crate) fn pivot_root() -> Result<()> {
    let here = c".".as_ptr();
    // SAFETY: both paths are valid C strings. Giving the same one stacks the old root on the new one, as the man page
    // describes.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, here, here) }).map(drop)
}

/// Loads a seccomp filter, an array of `struct sock_filter`; gives the listener, if the flags ask for one. See
/// seccomp(2).
pub(crate) fn seccomp(filter: &[u8], flags: u32) -> Result<Option<OwnedFd>> {
    const NEW_LISTENER: u32 = 1 << 3;
    const INSTRUCTION: usize = 8;
    let length = u16::try_from(filter.len() / INSTRUCTION).map_err(|_| Errno::INVAL)?;
    // The array came over a socket as bytes; the kernel wants it aligned.
    let mut program: Vec<libc::sock_filter> = Vec::with_capacity(usize::from(length));
    for bytes in filter.chunks_exact(INSTRUCTION) {
        let [a, b, jt, jf, k @ ..] = bytes else { return Err(Errno::INVAL) };
        let k = <[u8; 4]>::try_from(k).map_err(|_| Errno::INVAL)?;
        let code = u16::from_ne_bytes([*a, *b]);
        program.push(libc::sock_filter { code, jt: *jt, jf: *jf, k: u32::from_ne_bytes(k) });
    }
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    // SAFETY: `program` and the array it points to live until the call returns, and `len` is the array's length.
    let answer = check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    })?;
    // SAFETY: with this flag the answer is a new descriptor that nobody else owns.
    Ok((flags & NEW_LISTENER != 0).then(|| unsafe { OwnedFd::from_raw_fd(answer as i32) }))
}

/// A new session keyring of no name, so that the keys of the engine's user are out of reach. See keyctl(2).
pub(crate) fn new_session_keyring() -> Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name asks for a new anonymous keyring; no memory is touched.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, ptr::null::<u8>()) })
        .map(drop)
}

/// Sets the soft and hard limit of this process. See prlimit(2).
pub(crate) fn set_rlimit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    let old = ptr::null_mut::<libc::rlimit64>();
    // SAFETY: `limit` lives until the call returns; the old limit is not asked for.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, old) }).map(drop)
}

/// The hard limit of this process. See prlimit(2).
pub(crate) fn hard_limit(resource: u32) -> Result<u64> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let new = ptr::null::<libc::rlimit64>();
    // SAFETY: no new limit is given; `limit` lives until the call returns.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, new, &raw mut limit) })?;
    Ok(limit.rlim_max)
}

/// Sets the effective, permitted and inheritable capabilities of this process. See capset(2).
pub(crate) fn capset(effective: u64, permitted: u64, inheritable: u64) -> Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let header: [u32; 2] = [VERSION_3, 0];
    let word = |set: u64, index: u32| (set >> (32 * index)) as u32;
    let data = [0, 1].map(|i| [word(effective, i), word(permitted, i), word(inheritable, i)]);
    // SAFETY: version 3 reads the header and two structs of three words each; both live until the call returns.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) }).map(drop)
}

/// prctl(2) with two integer arguments.
pub(crate) fn prctl(option: libc::c_int, a: u64, b: u64) -> Result<()> {
    // SAFETY: only called with options whose arguments are integers.
    check(unsafe { libc::syscall(libc::SYS_prctl, option, a, b, 0, 0) }).map(drop)
}

/// Sets the real, effective and saved group and user, and the supplementary groups, in the order that keeps the right
/// to do the next one.
pub(crate) fn set_identity(uid: u32, gid: u32, groups: &[u32]) -> Result<()> {
    // SAFETY: the pointer and the length are those of one slice; the other calls take integers. The system calls are
    // made directly, as the program has one thread.
    check(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
    // SAFETY: as above.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: as above.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

/// The arguments of sched_setattr(2), as of Linux 3.14.
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    deadline: [u64; 3],
}

/// Says how this process shares the processors. See sched_setattr(2).
pub(crate) fn set_scheduler(scheduler: &Scheduler) -> Result<()> {
    let Scheduler { policy, flags, nice, priority, deadline } = scheduler.clone();
    let size = size_of::<SchedAttr>() as u32;
    let attr = SchedAttr { size, policy, flags, nice, priority, deadline };
    // SAFETY: `attr` lives until the call returns and says its own size.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) }).map(drop)
}

/// Says on which processors this process may be. See sched_setaffinity(2).
pub(crate) fn set_processors(processors: &[u64]) -> Result<()> {
    let size = size_of_val(processors);
    // SAFETY: the pointer and the size are those of one slice.
    check(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size, processors.as_ptr()) }).map(drop)
}

/// Says how soon this process is served by disks. See ioprio_set(2).
pub(crate) fn set_io_priority(priority: u16) -> Result<()> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    // SAFETY: takes integers.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, libc::c_int::from(priority)) })
        .map(drop)
}

/// Says from which nodes this process gets its memory. See set_mempolicy(2).
pub(crate) fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<()> {
    // The kernel takes one bit less than it is told.
    let bits = if nodes.is_empty() { 0 } else { nodes.len() * 64 + 1 };
    let nodes = if nodes.is_empty() { ptr::null() } else { nodes.as_ptr() };
    // SAFETY: the pointer is null or that of a slice of as many bits, of which the last word is read whole at most.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, nodes, bits) }).map(drop)
}

/// Sets the execution domain. See personality(2).
pub(crate) fn set_personality(personality: u32) -> Result<()> {
    // SAFETY: takes an integer.
    check(unsafe { libc::syscall(libc::SYS_personality, libc::c_ulong::from(personality)) }).map(drop)
}

/// Sets the file mode creation mask.
pub(crate) fn umask(mask: u32) {
    // SAFETY: takes an integer and cannot fail.
    unsafe { libc::umask(mask) };
}

/// Marks every descriptor from 3 on to be closed by execve.
pub(crate) fn cloexec_from_3() -> Result<()> {
    // SAFETY: takes integers; closes nothing now.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Closes `fd`, unless it is a standard stream.
pub(crate) fn keep_standard(fd: OwnedFd) {
    if fd.as_raw_fd() < 3 {
        core::mem::forget(fd);
    }
}

/// Closes a descriptor in a child that was cloned, which goes on with a copy of what it belongs to and uses it no more.
pub(crate) fn close_in_child(fd: &Option<OwnedFd>) {
    if let Some(fd) = fd {
        // SAFETY: the number is open in this process. The child ends by execve or exit, so the copy of its owner is
        // never dropped here, and nothing reads or writes through it.
        unsafe { libc::close(fd.as_raw_fd()) };
    }
}

/// Closes every descriptor from 3 on but these. Only called where nothing owns the others, or uses what does any more: at
/// the beginning of the program, and in children that were cloned.
pub(crate) fn close_all_but(keep: &[BorrowedFd<'_>]) -> Result<()> {
    let mut numbers: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd().unsigned_abs()).collect();
    numbers.sort_unstable();
    let mut first = 3;
    for number in numbers.into_iter().filter(|number| *number >= 3).chain([u32::MAX]) {
        if first < number {
            // SAFETY: takes integers; the caller's promise is that what owned these descriptors is not used any more.
            check(unsafe { libc::syscall(libc::SYS_close_range, first, number - 1, 0) })?;
        }
        first = number.saturating_add(1);
    }
    Ok(())
}

/// The strings of an array as the C library hands it over.
///
/// # Safety
/// It is an array of C strings with a null pointer at its end.
pub(crate) unsafe fn strings(array: *const *const libc::c_char) -> Vec<String> {
    let mut strings = Vec::new();
    loop {
        // SAFETY: the caller's promise: up to here no pointer was null, so this place is in the array.
        let string = unsafe { *array.add(strings.len()) };
        if string.is_null() {
            return strings;
        }
        // SAFETY: a C string that is there for the whole call.
        strings.push(unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned());
    }
}

/// Becomes the program. Returns only to say why not. See execve(2).
pub(crate) fn execve(path: &CString, args: &[CString], env: &[CString]) -> Errno {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
    };
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: the path is a C string, both arrays end with a null pointer and live until the call returns.
    let result = unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    check(result.into()).err().unwrap_or(Errno::INVAL)
}

/// Sets what signals do back to the default and blocks none, as a program expects to find them.
pub(crate) fn reset_signals() {
    // SAFETY: an all-zero set is a valid value for sigemptyset to fill in; ignoring and the default action are no
    // handlers, so no code of ours is named.
    unsafe {
        let mut none = core::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        for signal in 1..=64 {
            if signal != libc::SIGKILL && signal != libc::SIGSTOP {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
    }
}

/// Ignores the signals that a terminal or a service manager sends to everybody: a monitor outlives its starter. And
/// those of a pipe that nobody reads and of a file that may not grow, which the calls tell of.
pub(crate) fn ignore_signals() {
    const IGNORED: [libc::c_int; 7] = [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTERM,
        libc::SIGTSTP,
        libc::SIGPIPE,
        libc::SIGXFSZ,
    ];
    for signal in IGNORED {
        // SAFETY: SIG_IGN is no handler, so no code of ours is named.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Blocks all signals but those that cannot be, and gives a descriptor that delivers them. See signalfd(2).
pub(crate) fn signalfd() -> Result<OwnedFd> {
    // SAFETY: an all-zero set is a valid value for sigfillset to fill in; the set lives until signalfd returns.
    let fd = unsafe {
        let mut all = core::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, ptr::null_mut());
        libc::signalfd(-1, &raw const all, libc::SFD_CLOEXEC)
    };
    check(fd.into())?;
    // SAFETY: the call succeeded, so this is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes the open-file-description lock on the whole of `file` for writing, or gives it back. Fails with `EAGAIN` if
/// somebody else has it. See fcntl(2), "Open file description locks".
pub(crate) fn lock(file: BorrowedFd<'_>, take: bool) -> Result<()> {
    let kind = if take { libc::F_WRLCK } else { libc::F_UNLCK };
    // SAFETY: all-zero is a valid `struct flock`: the whole file, from its beginning.
    let mut lock = unsafe { core::mem::zeroed::<libc::flock>() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: the descriptor is open and `lock` lives until the call returns.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) }.into()).map(drop)
}

/// The descriptor that the program was started with as standard input: its control socket.
pub(crate) fn control_socket() -> OwnedFd {
    // SAFETY: the program was started with this descriptor and nothing else in it owns it.
    unsafe { OwnedFd::from_raw_fd(0) }
}

/// Whether the descriptor is a socket.
pub(crate) fn is_socket(fd: BorrowedFd<'_>) -> bool {
    use rustix::fs::FileType;
    rustix::fs::fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket)
}

/// Standard input.
pub(crate) fn stdin() -> BorrowedFd<'static> {
    // SAFETY: the number 0 is open from the start of this program to its end, whatever it stands for.
    unsafe { BorrowedFd::borrow_raw(0) }
}

/// Standard error.
pub(crate) fn stderr() -> BorrowedFd<'static> {
    // SAFETY: as for standard input.
    unsafe { BorrowedFd::borrow_raw(2) }
}

/// Copies `fd` to the number `target`, closing what was there, and keeps it over execve.
pub(crate) fn dup_to(fd: &impl AsFd, target: i32) -> Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    if fd == target {
        // dup2 would do nothing and leave the mark that closes it.
        // SAFETY: takes integers.
        return check(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }.into()).map(drop);
    }
    // SAFETY: takes integers. The numbers 0 to 2 are the standard streams, which nothing here owns as a descriptor.
    check(unsafe { libc::dup2(fd, target) }.into()).map(drop)
}
