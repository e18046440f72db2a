//! System call filters: turns the profile of an OCI runtime configuration into a program for the kernel.
//!
//! `rules` reads the profile, once for each interface of the machine; `program` lays the instructions out; nothing
//! else knows their form. The result means what libseccomp and runc make of the same profile, with these rules:
//!
//! * names that an interface does not have are passed over;
//! * of several rules for a call one without conditions wins, and the first of those; the others are tried in order;
//! * a rule that says what holds anyway is passed over;
//! * several conditions of one rule must all hold, unless two are about the same argument: then any is enough;
//! * calls that are newer than all that the profile names do not exist (ENOSYS), so that libraries fall back to older
//!   ones, where the profile would have refused them with an error that they take at its word.

mod program;
mod rules;
mod syscalls;

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompFilterFlag};
use syscalls::Interface;

use crate::error::{Error, ErrorKind, Result};

/// How many compiled profiles are kept: the default one with a few sets of capabilities, and a few of users.
const KEPT: usize = 8;

/// Profiles and their programs, latest last. Equal profiles have equal programs, so it matters to no engine in this
/// process what another one left here.
static COMPILED: Mutex<VecDeque<(LinuxSeccomp, Program)>> = Mutex::new(VecDeque::new());

/// An array of `struct sock_filter`, and the flags for seccomp(2).
type Program = (Vec<u8>, u32);

/// Compiles the profile for this machine; gives an array of `struct sock_filter` and the flags for seccomp(2).
///
/// # Errors
/// [`ErrorKind::InvalidInput`] for a profile that means nothing, [`ErrorKind::Unsupported`] for one that wants a
/// listener, [`ErrorKind::LimitExceeded`] for one that is longer than the kernel takes.
pub(crate) fn compile(profile: &LinuxSeccomp) -> Result<(Vec<u8>, u32)> {
    // A panic cannot leave the list in between two states.
    let known = || COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, program)) = known().iter().find(|(other, _)| other == profile) {
        return Ok(program.clone());
    }
    let interfaces = interfaces(profile.architectures().as_deref().unwrap_or_default())?;
    let program = (bytes(&compile_for(profile, &interfaces)?), flags(profile));
    let mut known = known();
    if known.len() >= KEPT {
        known.pop_front();
    }
    known.push_back((profile.clone(), program.clone()));
    Ok(program)
}

fn compile_for(profile: &LinuxSeccomp, interfaces: &[Interface]) -> Result<Vec<program::Instruction>> {
    let default = rules::default_action(profile)?;
    let tables: Vec<_> =
        interfaces.iter().map(|interface| rules::read(profile, *interface)).collect::<Result<_>>()?;
    program::assemble(&tables, default)
}

/// The interfaces the profile is about: this machine's own, and of its others those that the profile names. A call
/// through any other ends the program that makes it.
fn interfaces(named: &[Arch]) -> Result<Vec<Interface>> {
    let Some((own, others)) = Interface::NATIVE.split_first() else {
        return Err(Error::new(ErrorKind::Unsupported, "seccomp profile")
            .because("the system calls of this machine's architecture are not known to the engine")
            .with_remedy("run the container with seccomp=unconfined"));
    };
    let meant = |interface: &&Interface| {
        named.iter().any(|arch| match arch {
            Arch::ScmpArchX86 => **interface == Interface::X86,
            Arch::ScmpArchX32 => **interface == Interface::X32,
            Arch::ScmpArchX86_64 => **interface == Interface::X86_64,
            Arch::ScmpArchArm => **interface == Interface::Arm,
            Arch::ScmpArchAarch64 => **interface == Interface::Aarch64,
            _ => false,
        })
    };
    Ok([own].into_iter().chain(others.iter().filter(meant)).copied().collect())
}

/// `SECCOMP_FILTER_FLAG_*`. Speculation is left alone unless the profile says otherwise, as in runc: the kernel's
/// counter-measures slow every program down, and do not help against what a container shares with others.
fn flags(profile: &LinuxSeccomp) -> u32 {
    let bit = |flag: &LinuxSeccompFilterFlag| match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync => 1,
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => 1 << 1,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => 1 << 2,
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => 1 << 5,
    };
    match profile.flags() {
        None => bit(&LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow),
        Some(flags) => flags.iter().map(bit).fold(0, |all, flag| all | flag),
    }
}

fn bytes(program: &[program::Instruction]) -> Vec<u8> {
    program.iter().flat_map(|instruction| instruction.bytes()).collect()
}

#[cfg(test)]
mod tests;
