//! The program for the kernel (classic BPF, Documentation/userspace-api/seccomp_filter.rst): first which interface,
//! then which call, by halving the range of numbers, then the conditions on arguments.
//!
//! Calls of a container are mostly decided without it: the kernel knows, from running the program once, which calls
//! it always allows. For the others the halving costs seven or eight instructions, whatever the call.
//!
//! It is put together from its end to its beginning: jumps lead forward only, so where they lead is known by then.

use super::rules::{
    Action, Alternative, Comparison, Condition, KILL_THREAD, NO_SUCH_CALL, NOTIFY, Table, Verdict,
};
use super::syscalls::{ARM_PRIVATE, Interface, X32_BIT};
use crate::error::{Error, ErrorKind, Result};

/// The kernel takes no longer program (`BPF_MAXINSNS`).
const LIMIT: usize = 4096;

// Operations, as in linux/bpf_common.h.
const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const IF_GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const IF_GREATER_OR_EQUAL: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

// Offsets in struct seccomp_data.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

/// `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    /// What to do.
    pub(super) operation: u16,
    /// How many instructions to skip if a test holds, and if it does not.
    pub(super) skip: (u8, u8),
    /// The constant.
    pub(super) constant: u32,
}

impl Instruction {
    /// As it lies in memory.
    pub(super) fn bytes(self) -> [u8; 8] {
        let [a, b] = self.operation.to_ne_bytes();
        let [c, d, e, f] = self.constant.to_ne_bytes();
        [a, b, self.skip.0, self.skip.1, c, d, e, f]
    }
}

/// A place in the program, counted from its end.
type Label = usize;

/// Where to go on.
#[derive(Clone, Copy, Debug)]
enum Target {
    /// At this place.
    Place(Label),
    /// Nowhere: this is the answer.
    Answer(Action),
}

/// What happens to the calls of a range of numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate<'a> {
    /// Always this.
    Plain(Action),
    /// It depends on the arguments.
    Conditional(&'a [Alternative]),
}

/// The first number of a range, which ends where the next one begins.
type Range<'a> = (u32, Fate<'a>);

/// A program that grows towards its beginning.
struct Assembler<'a> {
    /// What happens where no rule applies.
    default: Action,
    /// The instructions, last one first.
    reversed: Vec<Instruction>,
    /// For each answer, the place nearest to the beginning that gives it.
    answers: Vec<(Action, Label)>,
    /// Where the arguments are looked at. Calls that are treated alike share the place.
    conditional: Vec<(&'a [Alternative], Target)>,
}

/// The program of the tables. Interfaces that none of them is about end the thread that uses them.
///
/// # Errors
/// [`ErrorKind::LimitExceeded`] if the kernel would not take it.
pub(super) fn assemble(tables: &[Table], default: Action) -> Result<Vec<Instruction>> {
    let mut assembler = Assembler {
        default,
        reversed: Vec::with_capacity(512),
        answers: Vec::new(),
        conditional: Vec::new(),
    };
    let x32 = tables.iter().find(|table| table.interface == Interface::X32);
    let mut otherwise = Target::Answer(KILL_THREAD);
    for table in tables.iter().filter(|table| table.interface != Interface::X32).rev() {
        let mut ranges = ranges(table, 0, default);
        if table.interface == Interface::X86_64 {
            add_x32(&mut ranges, x32, default);
        }
        assembler.conditional.clear();
        let decide = assembler.search(&ranges)?;
        assembler.begin_with(decide)?;
        let section = assembler.push(LOAD, NUMBER)?;
        otherwise = assembler.test(IF_EQUAL, table.interface.audit(), Target::Place(section), otherwise)?;
    }
    assembler.begin_with(otherwise)?;
    assembler.push(LOAD, ARCHITECTURE)?;
    assembler.reversed.reverse();
    Ok(assembler.reversed)
}

/// Whether somebody is asked about a call.
pub(super) fn asks(program: &[Instruction]) -> bool {
    program.iter().any(|instruction| (instruction.operation, instruction.constant) == (RETURN, NOTIFY))
}

/// The ranges of a table over all numbers, which begin at `offset`.
fn ranges(table: &Table, offset: u32, default: Action) -> Vec<Range<'_>> {
    let end = u64::from(u32::MAX - offset) + 1;
    let private = (table.interface == Interface::Arm).then_some(u64::from(ARM_PRIVATE));
    let newer = table.newer.map(u64::from);
    let mut ranges: Vec<Range<'_>> = Vec::with_capacity(128);
    let mut add = |start: u64, fate| {
        if ranges.last().is_none_or(|(_, last)| *last != fate) {
            // Less than `end`, so it fits.
            ranges.push((offset + start as u32, fate));
        }
    };
    let mut next = 0;
    let calls = table.calls.iter().map(|(number, verdict)| (u64::from(*number), Some(verdict)));
    for (number, verdict) in calls.chain([(end, None)]) {
        // The numbers without a rule before this one: old calls, new ones, and those of 32-bit Arm alone.
        let starts = [(Some(0), default), (newer, NO_SUCH_CALL), (private, default)];
        for (index, (start, action)) in starts.iter().enumerate() {
            let Some(start) = *start else { continue };
            let until = starts[index + 1..].iter().find_map(|(start, _)| *start).unwrap_or(end);
            if next.max(start) < number.min(until) {
                add(next.max(start), Fate::Plain(*action));
            }
        }
        match verdict {
            Some(Verdict::Plain(action)) => add(number, Fate::Plain(*action)),
            Some(Verdict::Conditional(alternatives)) => add(number, Fate::Conditional(alternatives)),
            None => {}
        }
        next = number + 1;
    }
    ranges
}

/// Adds what holds for numbers with the bit of x32 to the ranges of x86-64.
fn add_x32<'a>(ranges: &mut Vec<Range<'a>>, x32: Option<&'a Table>, default: Action) {
    ranges.retain(|(start, _)| *start < X32_BIT);
    match x32 {
        Some(table) => ranges.extend(self::ranges(table, X32_BIT, default)),
        None => {
            ranges.push((X32_BIT, Fate::Plain(KILL_THREAD)));
            // A tracer sets it to have a call left out.
            ranges.push((u32::MAX, Fate::Plain(default)));
        }
    }
}

impl<'a> Assembler<'a> {
    /// Finds the fate of the number at hand.
    fn search(&mut self, ranges: &[Range<'a>]) -> Result<Target> {
        match ranges {
            [] => Ok(Target::Answer(self.default)),
            [(_, Fate::Plain(action))] => Ok(Target::Answer(*action)),
            [(_, Fate::Conditional(alternatives))] => self.alternatives(alternatives),
            _ => {
                let (lower, upper) = ranges.split_at(ranges.len() / 2);
                let border = upper.first().map_or(0, |(start, _)| *start);
                let upper = self.search(upper)?;
                let lower = self.search(lower)?;
                self.test(IF_GREATER_OR_EQUAL, border, upper, lower)
            }
        }
    }

    /// Tries one after the other.
    fn alternatives(&mut self, alternatives: &'a [Alternative]) -> Result<Target> {
        if let Some((_, known)) = self.conditional.iter().find(|(known, _)| *known == alternatives) {
            return Ok(*known);
        }
        let mut otherwise = Target::Answer(self.default);
        for alternative in alternatives.iter().rev() {
            let mut target = Target::Answer(alternative.action);
            for condition in alternative.conditions.iter().rev() {
                target = self.condition(*condition, target, otherwise)?;
            }
            otherwise = target;
        }
        self.conditional.push((alternatives, otherwise));
        Ok(otherwise)
    }

    /// Looks at an argument, which has two halves, while an instruction takes one.
    fn condition(&mut self, condition: Condition, yes: Target, no: Target) -> Result<Target> {
        let half = |value: u64| [value as u32, (value >> 32) as u32];
        let ([mask_low, mask_high], [low, high]) = (half(condition.mask), half(condition.value));
        let argument = FIRST_ARGUMENT + 8 * condition.argument as u32;
        let (at_low, at_high) =
            if cfg!(target_endian = "little") { (argument, argument + 4) } else { (argument + 4, argument) };
        let operation = match condition.comparison {
            Comparison::Equal => {
                let rest = self.equal(at_low, mask_low, low, yes, no)?;
                return self.equal(at_high, mask_high, high, rest, no);
            }
            Comparison::NotEqual => {
                return self.condition(Condition { comparison: Comparison::Equal, ..condition }, no, yes);
            }
            Comparison::Less => {
                let opposite = Condition { comparison: Comparison::GreaterOrEqual, ..condition };
                return self.condition(opposite, no, yes);
            }
            Comparison::LessOrEqual => {
                return self.condition(Condition { comparison: Comparison::Greater, ..condition }, no, yes);
            }
            Comparison::Greater => IF_GREATER,
            Comparison::GreaterOrEqual => IF_GREATER_OR_EQUAL,
        };
        self.test(operation, low, yes, no)?;
        let rest = Target::Place(self.push(LOAD, at_low)?);
        if mask_high == 0 {
            return Ok(rest);
        }
        let same = self.test(IF_EQUAL, high, rest, no)?;
        self.test(IF_GREATER, high, yes, same)?;
        Ok(Target::Place(self.push(LOAD, at_high)?))
    }

    /// Whether the bits in `mask` of the half at `offset` are `value`.
    fn equal(&mut self, offset: u32, mask: u32, value: u32, yes: Target, no: Target) -> Result<Target> {
        if mask == 0 {
            return Ok(yes);
        }
        self.test(IF_EQUAL, value, yes, no)?;
        if mask != u32::MAX {
            self.push(AND, mask)?;
        }
        Ok(Target::Place(self.push(LOAD, offset)?))
    }

    /// A test of what is at hand.
    fn test(&mut self, operation: u16, constant: u32, yes: Target, no: Target) -> Result<Target> {
        let (yes, no) = (self.near(yes)?, self.near(no)?);
        let next = self.reversed.len() - 1;
        // `near` saw to it that they fit.
        let skip = ((next - yes) as u8, (next - no) as u8);
        self.add(Instruction { operation, skip, constant }).map(Target::Place)
    }

    /// A place for the target that a test can reach which is added next, or after one more instruction.
    fn near(&mut self, target: Target) -> Result<Label> {
        const REACH: usize = 250;
        let length = self.reversed.len();
        let reachable = |label: Label| length - label <= REACH;
        match target {
            Target::Place(label) if reachable(label) => Ok(label),
            Target::Place(label) => self.jump(label),
            Target::Answer(action) => {
                let known = self.answers.iter().find(|(known, _)| *known == action).map(|(_, label)| *label);
                known.filter(|label| reachable(*label)).map_or_else(|| self.answer(action), Ok)
            }
        }
    }

    /// Makes the target the beginning of what is there.
    fn begin_with(&mut self, target: Target) -> Result<Label> {
        match target {
            Target::Place(label) if label + 1 == self.reversed.len() => Ok(label),
            Target::Place(label) => self.jump(label),
            Target::Answer(action) => self.answer(action),
        }
    }

    fn jump(&mut self, label: Label) -> Result<Label> {
        // At most 4096.
        let distance = (self.reversed.len() - 1 - label) as u32;
        self.push(JUMP, distance)
    }

    fn answer(&mut self, action: Action) -> Result<Label> {
        let label = self.push(RETURN, action)?;
        self.answers.retain(|(known, _)| *known != action);
        self.answers.push((action, label));
        Ok(label)
    }

    fn push(&mut self, operation: u16, constant: u32) -> Result<Label> {
        self.add(Instruction { operation, skip: (0, 0), constant })
    }

    fn add(&mut self, instruction: Instruction) -> Result<Label> {
        if self.reversed.len() >= LIMIT {
            return Err(Error::new(ErrorKind::LimitExceeded, "seccomp profile")
                .because(format!("its program has more than the {LIMIT} instructions that the kernel takes"))
                .with_remedy("use fewer rules with conditions"));
        }
        self.reversed.push(instruction);
        Ok(self.reversed.len() - 1)
    }
}
