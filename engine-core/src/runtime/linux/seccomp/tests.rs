use oci_spec::runtime::{
    LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompOperator, LinuxSyscall,
};
use proptest::prelude::*;

use super::program::Instruction;
use super::*;
use crate::error::ErrorKind;

/// What a filter sees of a call.
#[derive(Clone, Copy, Debug)]
struct Call {
    interface: Interface,
    number: u32,
    arguments: [u64; 6],
}

impl Call {
    fn new(interface: Interface, name: &str, arguments: &[u64]) -> Call {
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        let bit = if interface == Interface::X32 { syscalls::X32_BIT } else { 0 };
        let number = interface.number(name).expect("a known call") | bit;
        Call { interface, number, arguments: all }
    }

    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.interface.audit(),
            16..64 => {
                let bytes = self.arguments[(offset as usize - 16) / 8].to_ne_bytes();
                let at = (offset as usize - 16) % 8;
                u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
            }
            _ => panic!("no such word: {offset}"),
        }
    }
}

/// What the kernel does with the program; gives the answer and how many instructions it took.
fn run(program: &[Instruction], call: &Call) -> (u32, usize) {
    let (mut hand, mut at, mut steps) = (0u32, 0usize, 0);
    loop {
        let Instruction { operation, skip, constant } = program[at];
        at += 1;
        steps += 1;
        let mut jump = |condition: bool| at += usize::from(if condition { skip.0 } else { skip.1 });
        match operation {
            0x20 => hand = call.word(constant),
            0x54 => hand &= constant,
            0x05 => at += constant as usize,
            0x15 => jump(hand == constant),
            0x25 => jump(hand > constant),
            0x35 => jump(hand >= constant),
            0x06 => return (constant, steps),
            other => panic!("unknown operation {other:#x}"),
        }
    }
}

/// The same by the words of the module's documentation, slowly.
fn expected(profile: &LinuxSeccomp, interfaces: &[Interface], call: &Call) -> u32 {
    let value = |action: LinuxSeccompAction, errno: Option<u32>| match action {
        LinuxSeccompAction::ScmpActAllow => 0x7fff_0000,
        LinuxSeccompAction::ScmpActErrno => 0x0005_0000 | errno.unwrap_or(1),
        LinuxSeccompAction::ScmpActKillProcess => 0x8000_0000,
        LinuxSeccompAction::ScmpActLog => 0x7ffc_0000,
        LinuxSeccompAction::ScmpActTrap => 0x0003_0000,
        LinuxSeccompAction::ScmpActTrace => 0x7ff0_0000 | errno.unwrap_or(1),
        LinuxSeccompAction::ScmpActNotify => 0x7fc0_0000,
        _ => 0,
    };
    let default = value(profile.default_action(), profile.default_errno_ret());
    let x32 = call.interface.audit() == 0xc000_003e && call.number >= syscalls::X32_BIT;
    let interface = match call.interface {
        Interface::X86_64 | Interface::X32 if x32 => Interface::X32,
        Interface::X86_64 | Interface::X32 => Interface::X86_64,
        other => other,
    };
    if !interfaces.contains(&interface) {
        return if x32 && call.number == u32::MAX { default } else { 0 };
    }
    let number = if x32 { call.number - syscalls::X32_BIT } else { call.number };
    let mut highest = None;
    let mut plain = None;
    let mut conditional = None;
    for rule in profile.syscalls().iter().flatten() {
        let action = value(rule.action(), rule.errno_ret());
        let arguments = rule.args().as_deref().unwrap_or_default();
        for name in rule.names() {
            let this = interface.number(name);
            highest = highest.max(this.filter(|number| *number < 0xf0000));
            let through = interface
                .multiplexed(name)
                .is_some_and(|(other, first)| other == number && call.arguments[0] as u32 == first);
            if action == default {
                continue;
            }
            if through && arguments.is_empty() && this.is_some() {
                conditional = conditional.or(Some(action));
            }
            if this != Some(number) {
                continue;
            }
            if arguments.is_empty() {
                plain = plain.or(Some(action));
                continue;
            }
            let holds = |argument: &LinuxSeccompArg| {
                let cut = |n: u64| if interface.wide() { n } else { n & 0xffff_ffff };
                let (is, value) = (cut(call.arguments[argument.index()]), cut(argument.value()));
                match argument.op() {
                    LinuxSeccompOperator::ScmpCmpEq => is == value,
                    LinuxSeccompOperator::ScmpCmpNe => is != value,
                    LinuxSeccompOperator::ScmpCmpLt => is < value,
                    LinuxSeccompOperator::ScmpCmpLe => is <= value,
                    LinuxSeccompOperator::ScmpCmpGt => is > value,
                    LinuxSeccompOperator::ScmpCmpGe => is >= value,
                    LinuxSeccompOperator::ScmpCmpMaskedEq => {
                        is & value == argument.value_two().unwrap_or(0) & value
                    }
                }
            };
            let repeated = (0..6).any(|n| arguments.iter().filter(|a| a.index() == n).count() > 1);
            let all = arguments.iter().all(holds);
            if all || repeated && arguments.iter().any(holds) {
                conditional = conditional.or(Some(action));
            }
        }
    }
    let new = highest.is_some_and(|highest| number > highest)
        && !(interface == Interface::Arm && number >= 0xf0000)
        && ![0x7fff_0000, 0x7ffc_0000, 0x7fc0_0000, 0x0005_0026].contains(&default)
        && default >> 16 != 0x7ff0;
    plain.or(conditional).unwrap_or(if new { 0x0005_0026 } else { default })
}

const NAMES: [&str; 16] = [
    "read",
    "write",
    "open",
    "openat",
    "clone",
    "clone3",
    "socket",
    "socketcall",
    "ipc",
    "shmget",
    "personality",
    "mmap",
    "execve",
    "cacheflush",
    "mseal",
    "no_such_call",
];
const INTERFACES: [Interface; 5] =
    [Interface::X86_64, Interface::X86, Interface::X32, Interface::Aarch64, Interface::Arm];

/// A condition.
fn compare(index: usize, value: u64, two: Option<u64>, op: LinuxSeccompOperator) -> LinuxSeccompArg {
    let mut builder = LinuxSeccompArgBuilder::default().index(index).value(value).op(op);
    if let Some(two) = two {
        builder = builder.value_two(two);
    }
    builder.build().expect("complete")
}

/// Numbers near each other, so that comparisons are hit on both sides and in both halves.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0u64..4,
        Just(0xffff_ffff),
        Just(0x1_0000_0000),
        Just(0x1_0000_0001),
        Just(u64::MAX),
        Just(0x8000_0000_0000_0001),
        any::<u64>(),
    ]
}

prop_compose! {
    fn argument()(index in 0usize..6, value in number(), two in prop::option::of(number()), op in 0usize..7)
        -> LinuxSeccompArg
    {
        use LinuxSeccompOperator::*;
        let op = [ScmpCmpNe, ScmpCmpLt, ScmpCmpLe, ScmpCmpEq, ScmpCmpGe, ScmpCmpGt, ScmpCmpMaskedEq][op];
        compare(index, value, two, op)
    }
}

fn action() -> impl Strategy<Value = (LinuxSeccompAction, Option<u32>)> {
    use LinuxSeccompAction::*;
    prop_oneof![
        4 => Just((ScmpActAllow, None)),
        4 => (Just(ScmpActErrno), prop::option::of(prop_oneof![Just(1u32), Just(38), Just(5)])),
        1 => Just((ScmpActKillProcess, None)),
        1 => Just((ScmpActKill, None)),
        1 => Just((ScmpActLog, None)),
        1 => Just((ScmpActTrap, None)),
        1 => Just((ScmpActTrace, Some(7))),
        1 => Just((ScmpActNotify, None)),
    ]
}

prop_compose! {
    fn rule()(
        names in prop::collection::vec(prop::sample::select(&NAMES[..]), 1..6),
        action in action(),
        arguments in prop::collection::vec(argument(), 0..4),
    ) -> LinuxSyscall {
        let mut rule = LinuxSyscall::default();
        rule.set_names(names.into_iter().map(str::to_owned).collect());
        rule.set_action(action.0).set_errno_ret(action.1);
        rule.set_args((!arguments.is_empty()).then_some(arguments));
        rule
    }
}

prop_compose! {
    fn profile()(action in action(), rules in prop::collection::vec(rule(), 0..12)) -> LinuxSeccomp {
        let mut profile = LinuxSeccomp::default();
        profile.set_default_action(action.0).set_default_errno_ret(action.1).set_syscalls(Some(rules));
        profile
    }
}

prop_compose! {
    fn call()(
        interface in prop::sample::select(&INTERFACES[..]),
        name in prop::sample::select(&NAMES[..]),
        other in prop_oneof![Just(None), any::<u32>().prop_map(Some), (0u32..600).prop_map(Some), Just(Some(u32::MAX))],
        arguments in prop::array::uniform6(number()),
    ) -> Call {
        let bit = if interface == Interface::X32 { syscalls::X32_BIT } else { 0 };
        let number = other.or(interface.number(name).map(|number| number | bit)).unwrap_or(u32::MAX);
        Call { interface, number, arguments }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_program_decides_as_the_profile_says(
        profile in profile(),
        included in prop::sample::subsequence(&INTERFACES[..], 1..=5),
        calls in prop::collection::vec(call(), 40),
    ) {
        let program = compile_for(&profile, &included).expect("compiles");
        for call in calls {
            // x32 is a part of x86-64 to the kernel.
            let known = |interface: Interface| included.contains(&interface);
            if call.interface.audit() == Interface::X86_64.audit() && !known(Interface::X86_64) {
                prop_assert_eq!(run(&program, &call).0, 0);
                continue;
            }
            prop_assert_eq!(run(&program, &call).0, expected(&profile, &included, &call), "{:?}", call);
        }
    }
}

fn allow(names: &[&str], arguments: Vec<LinuxSeccompArg>) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names.iter().map(|name| (*name).to_owned()).collect());
    rule.set_action(LinuxSeccompAction::ScmpActAllow);
    rule.set_args((!arguments.is_empty()).then_some(arguments));
    rule
}

fn with_rules(rules: Vec<LinuxSyscall>) -> LinuxSeccomp {
    let mut profile = LinuxSeccomp::default();
    profile.set_default_action(LinuxSeccompAction::ScmpActErrno).set_syscalls(Some(rules));
    profile
}

#[test]
fn the_other_interface_of_a_machine_cannot_be_used_to_get_around() {
    let profile = with_rules(vec![allow(&["read", "mseal"], Vec::new())]);
    let program = compile_for(&profile, &[Interface::X86_64]).expect("compiles");
    let answer = |call: Call| run(&program, &call).0;
    assert_eq!(answer(Call::new(Interface::X86_64, "read", &[])), 0x7fff_0000);
    assert_eq!(answer(Call::new(Interface::X86_64, "write", &[])), 0x0005_0001);
    assert_eq!(answer(Call::new(Interface::X86, "read", &[])), 0);
    assert_eq!(answer(Call::new(Interface::X32, "read", &[])), 0);
    assert_eq!(answer(Call::new(Interface::X86_64, "open_tree_attr", &[])), 0x0005_0026);
}

#[test]
fn a_long_profile_is_searched_in_few_steps() {
    // Every other call: nothing lies together, which is the worst case.
    let calls = Interface::X86_64.table().iter().filter(|(_, number)| number % 2 == 0);
    let names: Vec<&str> = calls.map(|(name, _)| *name).collect();
    let program =
        compile_for(&with_rules(vec![allow(&names, Vec::new())]), INTERFACES.as_slice()).expect("compiles");
    for name in &names {
        let (answer, steps) = run(&program, &Call::new(Interface::X86_64, name, &[]));
        assert_eq!(answer, 0x7fff_0000, "{name}");
        assert!(steps < 18, "{name} takes {steps}");
    }
    assert!(program.len() < 2500, "{}", program.len());
}

#[test]
fn a_profile_that_is_too_much_is_refused_in_time() {
    let argument = |index, value| compare(index, value, None, LinuxSeccompOperator::ScmpCmpEq);
    let rules = (0..40_000).map(|n| allow(&["socket"], vec![argument(0, n)])).collect();
    assert_eq!(compile(&with_rules(rules)).expect_err("too long").kind(), ErrorKind::LimitExceeded);
    let names = vec!["read"; 60_000];
    let error = compile(&with_rules(vec![allow(&names, Vec::new())])).expect_err("too much");
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    let error =
        compile(&with_rules(vec![allow(&["socket"], vec![argument(6, 1)])])).expect_err("no such argument");
    assert!(error.to_string().contains("socket"), "{error}");
}

#[test]
fn a_filter_that_asks_has_a_listener_and_lets_it_be_handed_over() {
    let notify = |names: &[&str]| {
        let mut rule = allow(names, Vec::new());
        rule.set_action(LinuxSeccompAction::ScmpActNotify);
        rule
    };
    let mut profile = with_rules(vec![notify(&["mount"]), allow(&["sendmsg", "recvmsg"], Vec::new())]);
    profile.set_flags(Some(vec![
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync,
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv,
    ]));
    let (_, flags) = compile(&profile).expect("compiles");
    assert_eq!((flags, asks(flags)), (1 << 3 | 1 << 5, true));
    let program = compile_for(&profile, &[Interface::X86_64]).expect("compiles");
    assert_eq!(run(&program, &Call::new(Interface::X86_64, "mount", &[])).0, 0x7fc0_0000);
    require(&profile, "sendmsg", &["recvmsg", "mount"]).expect("can be handed over");
    let error = require(&profile, "sendmsg", &["accept4"]).expect_err("is refused");
    assert!(error.to_string().contains("accept4"), "{error}");
    require(&profile, "mount", &[]).expect_err("somebody would be asked who does not listen yet");

    // Nobody is asked about calls that there are not.
    let mut profile = with_rules(vec![notify(&["no_such_call"])]);
    profile.set_flags(Some(vec![LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv]));
    assert_eq!(compile(&profile).expect("compiles").1, 0);
}

#[test]
fn equal_profiles_are_compiled_once_and_flags_are_kept() {
    let mut profile = with_rules(vec![allow(&["read"], Vec::new())]);
    let (first, flags) = compile(&profile).expect("compiles");
    assert_eq!(flags, 4);
    assert_eq!(compile(&profile).expect("compiles").0, first);
    profile.set_flags(Some(vec![LinuxSeccompFilterFlag::SeccompFilterFlagLog]));
    assert_eq!(compile(&profile).expect("compiles"), (first, 2));
}
