//! The policy for devices on version 2: a small program that the kernel runs on every use of a device
//! (`BPF_PROG_TYPE_CGROUP_DEVICE`), attached to the container's group.
//!
//! The program gets a `struct bpf_cgroup_dev_ctx` and answers 1 for yes and 0 for no. Instruction set: the kernel's
//! bpf/standardization/instruction-set.rst.

use std::fs::File;
use std::os::fd::AsFd;

use super::devices::{Kind, Policy};
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::sys::bpf;

// Instructions: class, source and operation in one byte.
const LOAD_WORD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
const MOVE: u8 = 0xbf; // BPF_ALU64 | BPF_MOV | BPF_X
const MOVE_CONSTANT: u8 = 0xb7; // BPF_ALU64 | BPF_MOV | BPF_K
const AND_CONSTANT: u8 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const SHIFT_RIGHT: u8 = 0x74; // BPF_ALU | BPF_RSH | BPF_K
const JUMP_UNLESS_EQUAL: u8 = 0x56; // BPF_JMP32 | BPF_JNE | BPF_K
const JUMP_IF_ZERO: u8 = 0x16; // BPF_JMP32 | BPF_JEQ | BPF_K
const JUMP_UNLESS_ZERO: u8 = JUMP_UNLESS_EQUAL;
const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT

// Registers.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

// Offsets in struct bpf_cgroup_dev_ctx; the first word has the kind in its lower half and the access above.
const CONTEXT_KIND: i16 = 0;
const CONTEXT_MAJOR: i16 = 4;
const CONTEXT_MINOR: i16 = 8;
const DEVICE_BLOCK: i32 = 1; // BPF_DEVCG_DEV_BLOCK
const DEVICE_CHAR: i32 = 2; // BPF_DEVCG_DEV_CHAR

/// One instruction: operation, registers, offset, constant.
fn instruction(operation: u8, to: u8, from: u8, offset: i16, constant: i32) -> u64 {
    // The registers share a byte, the first in the half that comes first in memory order of bit fields.
    let registers = if cfg!(target_endian = "little") { from << 4 | to } else { to << 4 | from };
    let mut bytes = [0; 8];
    bytes[0] = operation;
    bytes[1] = registers;
    bytes[2..4].copy_from_slice(&offset.to_ne_bytes());
    bytes[4..].copy_from_slice(&constant.to_ne_bytes());
    u64::from_ne_bytes(bytes)
}

/// The program of the policy.
fn assemble(policy: &Policy) -> Vec<u64> {
    let mut program = vec![
        instruction(LOAD_WORD, KIND, CONTEXT, CONTEXT_KIND, 0),
        instruction(MOVE, ACCESS, KIND, 0, 0),
        instruction(AND_CONSTANT, KIND, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, CONTEXT, CONTEXT_MAJOR, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, CONTEXT_MINOR, 0),
    ];
    let answer =
        |allow: bool| [instruction(MOVE_CONSTANT, ANSWER, 0, 0, allow.into()), instruction(EXIT, 0, 0, 0, 0)];
    for exception in &policy.exceptions {
        // What does not match goes on after the answer: the tests are collected first, to know how far that is.
        let mut tests: Vec<(u8, u8, i32)> = Vec::with_capacity(3);
        let kind = if exception.kind == Kind::Block { DEVICE_BLOCK } else { DEVICE_CHAR };
        tests.push((JUMP_UNLESS_EQUAL, KIND, kind));
        // The registers hold the same 32 bits as an unsigned number.
        if let Some(major) = exception.major {
            tests.push((JUMP_UNLESS_EQUAL, MAJOR, major.cast_signed()));
        }
        if let Some(minor) = exception.minor {
            tests.push((JUMP_UNLESS_EQUAL, MINOR, minor.cast_signed()));
        }
        // An exception that allows must allow all that is asked; one that denies denies whatever has a part of it.
        let (mask, jump) = match policy.allow {
            false => (i32::from(!exception.access & 7), JUMP_UNLESS_ZERO),
            true => (i32::from(exception.access), JUMP_IF_ZERO),
        };
        let access = [
            instruction(MOVE, SCRATCH, ACCESS, 0, 0),
            instruction(AND_CONSTANT, SCRATCH, 0, 0, mask),
            instruction(jump, SCRATCH, 0, 2, 0),
        ];
        let mut rest = tests.len() + access.len() + 2;
        for (operation, register, constant) in tests {
            rest -= 1;
            // At most seven instructions ahead.
            program.push(instruction(operation, register, 0, rest as i16, constant));
        }
        program.extend(access);
        program.extend(answer(!policy.allow));
    }
    program.extend(answer(policy.allow));
    program
}

/// Puts the policy in force for the group, in place of an earlier one.
pub(super) fn put_in_force(directory: &str, policy: &Policy) -> Result<()> {
    let explain = |e: rustix::io::Errno| {
        let error = Error::io(format!("cgroup {directory}: devices"), e.into());
        match error.kind() {
            ErrorKind::PermissionDenied => error.with_remedy("run the engine with CAP_BPF and CAP_SYS_ADMIN"),
            _ => error,
        }
    };
    let group = File::open(directory).subject(|| format!("cgroup {directory}"))?;
    let earlier = bpf::device_programs(group.as_fd()).map_err(explain)?;
    let program = bpf::load_device_program(&assemble(policy)).map_err(explain)?;
    bpf::attach_device_program(group.as_fd(), program.as_fd()).map_err(explain)?;
    // All attached programs have a veto, so at no moment is there none.
    for id in earlier {
        let program = bpf::program_by_id(id).map_err(explain)?;
        bpf::detach_device_program(group.as_fd(), program.as_fd()).map_err(explain)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
