//! bpf(2), as far as device filters of control groups need it.
#![expect(unsafe_code, reason = "bpf(2) has no typed form elsewhere; each call has its safety note")]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{Errno, Result};

// Commands, and the values they take: include/uapi/linux/bpf.h.
const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
const PROG_DETACH: libc::c_long = 9;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const PROG_QUERY: libc::c_long = 16;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
/// Programs of the groups above stay in force, and so do others of the same group.
const ALLOW_MULTI: u32 = 2;
/// A group has at most so many programs of one kind (`BPF_CGROUP_MAX_PROGS`).
const MAX_PROGRAMS: usize = 64;

/// The first members of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
struct Load {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// For `BPF_PROG_ATTACH` and `BPF_PROG_DETACH`.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
    replaced: u32,
}

/// For `BPF_PROG_QUERY`.
#[repr(C)]
struct Query {
    target: u32,
    kind: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
}

/// For `BPF_PROG_GET_FD_BY_ID`.
#[repr(C)]
struct ById {
    id: u32,
    next: u32,
    flags: u32,
}

/// # Safety
/// `attributes` is what the command takes, and the addresses in it are valid for as long and as much as it uses them.
unsafe fn bpf<T>(command: libc::c_long, attributes: &mut T) -> Result<libc::c_long> {
    // SAFETY: the attributes live until the call returns, and their size is given; the rest is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) };
    if result < 0 {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL));
    }
    Ok(result)
}

fn descriptor(fd: BorrowedFd<'_>) -> u32 {
    // An open descriptor is never negative.
    fd.as_raw_fd().cast_unsigned()
}

/// # Safety
/// `result` is a new descriptor that nobody else owns.
unsafe fn owned(result: libc::c_long) -> OwnedFd {
    // SAFETY: the caller's promise; descriptors are small.
    unsafe { OwnedFd::from_raw_fd(result as libc::c_int) }
}

/// Loads a program that decides on uses of devices, an array of `struct bpf_insn`.
pub(crate) fn load_device_program(instructions: &[u64]) -> Result<OwnedFd> {
    let instruction_count = u32::try_from(instructions.len()).map_err(|_| Errno::TOOBIG)?;
    let mut attributes = Load {
        kind: TYPE_CGROUP_DEVICE,
        instruction_count,
        instructions: instructions.as_ptr() as u64,
        license: c"Apache".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    loop {
        // SAFETY: instructions and license are valid for reading, with that count and a final null, and are only read.
        match unsafe { bpf(PROG_LOAD, &mut attributes) } {
            // The verifier was interrupted by a signal.
            Err(Errno::AGAIN) => {}
            // SAFETY: the command gives a new descriptor.
            result => return result.map(|fd| unsafe { owned(fd) }),
        }
    }
}

/// Puts the program in force for the control group, beside those that are.
pub(crate) fn attach_device_program(group: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<()> {
    let mut attributes = Attach {
        target: descriptor(group),
        program: descriptor(program),
        kind: ATTACH_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
        replaced: 0,
    };
    // SAFETY: the command takes numbers only, and both descriptors are open.
    unsafe { bpf(PROG_ATTACH, &mut attributes) }.map(drop)
}

/// Takes the program out of force for the control group.
pub(crate) fn detach_device_program(group: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<()> {
    let mut attributes = Attach {
        target: descriptor(group),
        program: descriptor(program),
        kind: ATTACH_CGROUP_DEVICE,
        flags: 0,
        replaced: 0,
    };
    // SAFETY: the command takes numbers only, and both descriptors are open.
    unsafe { bpf(PROG_DETACH, &mut attributes) }.map(drop)
}

/// The identifiers of the programs in force for the control group itself.
pub(crate) fn device_programs(group: BorrowedFd<'_>) -> Result<Vec<u32>> {
    let mut ids = [0u32; MAX_PROGRAMS];
    let mut attributes = Query {
        target: descriptor(group),
        kind: ATTACH_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        ids: ids.as_mut_ptr() as u64,
        count: MAX_PROGRAMS as u32,
        padding: 0,
    };
    // SAFETY: `ids` is valid for writing `count` identifiers until the call returns.
    unsafe { bpf(PROG_QUERY, &mut attributes) }?;
    Ok(ids.into_iter().take(attributes.count as usize).collect())
}

/// A descriptor of the program with that identifier.
pub(crate) fn program_by_id(id: u32) -> Result<OwnedFd> {
    let mut attributes = ById { id, next: 0, flags: 0 };
    // SAFETY: the command takes numbers only.
    let fd = unsafe { bpf(PROG_GET_FD_BY_ID, &mut attributes) }?;
    // SAFETY: the command gives a new descriptor.
    Ok(unsafe { owned(fd) })
}
