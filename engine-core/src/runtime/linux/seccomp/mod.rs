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

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`.
const NEW_LISTENER: u32 = 1 << 3;

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
/// [`ErrorKind::InvalidInput`] for a profile that means nothing, [`ErrorKind::LimitExceeded`] for one that is longer
/// than the kernel takes.
pub(crate) fn compile(profile: &LinuxSeccomp) -> Result<(Vec<u8>, u32)> {
    // A panic cannot leave the list in between two states.
    let known = || COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, program)) = known().iter().find(|(other, _)| other == profile) {
        return Ok(program.clone());
    }
    let interfaces = interfaces(profile.architectures().as_deref().unwrap_or_default())?;
    let program = compile_for(profile, &interfaces)?;
    let program = (bytes(&program), flags(profile, program::asks(&program)));
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

/// `SECCOMP_FILTER_FLAG_*`, for a filter that `asks` or not. Speculation is left alone unless the profile says otherwise,
/// as in runc: the kernel's counter-measures slow every program down, and do not help against what a container shares
/// with others.
fn flags(profile: &LinuxSeccomp, asks: bool) -> u32 {
    let bit = |flag: &LinuxSeccompFilterFlag| match flag {
        // The process that loads it has one thread, and the kernel would have this one or a listener.
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync => 0,
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => 1 << 1,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => 1 << 2,
        // About waiting for an answer.
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => u32::from(asks) << 5,
    };
    let listener = if asks { NEW_LISTENER } else { 0 };
    match profile.flags() {
        None => listener | bit(&LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow),
        Some(flags) => flags.iter().map(bit).fold(listener, |all, flag| all | flag),
    }
}

/// Whether a filter that is loaded with these flags asks somebody about calls.
pub(crate) fn asks(flags: u32) -> bool {
    flags & NEW_LISTENER != 0
}

/// Makes sure that a process that has loaded the profile's filter can still do what it has to: make the call `without`
/// asking anybody, and those in `anyhow`.
///
/// # Errors
/// [`ErrorKind::Unsupported`], naming the call.
pub(crate) fn require(profile: &LinuxSeccomp, without: &str, anyhow: &[&str]) -> Result<()> {
    let Some(own) = Interface::NATIVE.first() else { return Ok(()) };
    let (table, default) = (rules::read(profile, *own)?, rules::default_action(profile)?);
    let may = |call: &str, actions: &[rules::Action]| {
        let action = own.number(call).and_then(|number| table.answer(number, default));
        match action.is_some_and(|action| actions.contains(&action)) {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Unsupported, format!("seccomp profile: the call {call}"))
                .because(
                    "it is used until the program begins, under the filter, when a listener was handed over",
                )
                .with_remedy("allow it in a profile with SCMP_ACT_NOTIFY")),
        }
    };
    may(without, &[rules::ALLOW, rules::LOG])?;
    anyhow.iter().try_for_each(|call| may(call, &[rules::ALLOW, rules::LOG, rules::NOTIFY]))
}

fn bytes(program: &[program::Instruction]) -> Vec<u8> {
    program.iter().flat_map(|instruction| instruction.bytes()).collect()
}

#[cfg(test)]
mod tests;
