//! What was typed, and nothing of what it means: a structure for each command, parsed as docker parses.
//!
//! The structures say which flags there are; [`prepare`] gives all of them the behaviour of docker's parser, which is
//! Go's pflag: a flag may be repeated and the last one counts, a flag that is on or off takes a value only after an
//! equals sign, any other takes the next word, whatever it looks like.

pub(crate) mod container;
pub(crate) mod create;
pub(crate) mod global;
pub(crate) mod health;
pub(crate) mod image;
pub(crate) mod network;
pub(crate) mod parse;
pub(crate) mod system;
pub(crate) mod unsupported;
pub(crate) mod update;
pub(crate) mod usage;
pub(crate) mod volume;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::exit::Failure;

/// The identifier of the flag that prints help.
pub(crate) const HELP: &str = "help";

/// Gives a command the manners of docker's parser.
pub(crate) fn prepare(command: Command) -> Command {
    // `-h` is the host name where a container is made, and help, unadvertised, everywhere else.
    let taken = command.get_arguments().any(|arg| arg.get_short() == Some('h'));
    let help = Arg::new(HELP).long("help").action(ArgAction::Help).help("Print usage");
    let help = if taken { help } else { help.short_alias('h') };
    command
        .disable_help_flag(true)
        .disable_version_flag(true)
        .no_binary_name(true)
        .args_override_self(true)
        .mut_args(mannered)
        .arg(help)
}

fn mannered(arg: Arg) -> Arg {
    if arg.is_positional() {
        return arg;
    }
    match arg.get_action() {
        ArgAction::SetTrue => {
            let arg = if arg.get_default_values().is_empty() { arg.default_value("false") } else { arg };
            arg.action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .value_parser(parse::boolean::boolean)
        }
        ArgAction::Set | ArgAction::Append => arg.allow_hyphen_values(true),
        _ => arg,
    }
}

/// What parsing gave.
pub(crate) enum Typed {
    /// The command's arguments.
    Arguments(ArgMatches),
    /// A wish for help.
    Help,
}

/// Parses the words after the command's name, `path`.
///
/// # Errors
/// Code 125 for a flag that is not known or has a bad value, 1 for too few or too many arguments, as docker has it.
pub(crate) fn parse(command: Command, path: &str, words: &[String]) -> Result<Typed, Failure> {
    let mut command = prepare(command);
    match command.try_get_matches_from_mut(words) {
        Ok(matches) => Ok(Typed::Arguments(matches)),
        Err(e) if e.kind() == ErrorKind::DisplayHelp => Ok(Typed::Help),
        Err(e) => Err(usage::explain(&e, &command, path)),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches, Parser};

    use super::*;

    /// A command for tests.
    #[derive(Debug, Parser, PartialEq, Eq)]
    struct Sample {
        /// On or off.
        #[arg(short, long)]
        interactive: bool,
        /// On unless switched off.
        #[arg(long, default_value = "true", action = ArgAction::SetTrue)]
        sig_proxy: bool,
        /// Many.
        #[arg(short, long)]
        env: Vec<String>,
        /// One.
        #[arg(short, long, value_parser = parse::size::size)]
        memory: Option<u64>,
        /// The rest.
        #[arg(trailing_var_arg = true, required = true, value_name = "IMAGE [COMMAND] [ARG...]")]
        words: Vec<String>,
    }

    fn sample(line: &str) -> Result<Sample, Failure> {
        let words: Vec<String> = line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        match parse(Sample::command(), "engine sample", &words)? {
            Typed::Arguments(matches) => Ok(Sample::from_arg_matches(&matches).expect("it parsed")),
            Typed::Help => Err(Failure::told(0)),
        }
    }

    #[test]
    fn flags_are_parsed_as_docker_parses_them() {
        let typed = sample("-i --env A -e=B -e -C -m1k -m 2k alpine -e X --help").expect("parses");
        assert!(typed.interactive && typed.sig_proxy);
        assert_eq!(typed.env, ["A", "B", "-C"]);
        assert_eq!(typed.memory, Some(2048), "the last one counts");
        assert_eq!(typed.words, ["alpine", "-e", "X", "--help"], "flags end where the image is named");
        let typed = sample("-i=false --sig-proxy=0 -- --odd").expect("parses");
        assert!(!typed.interactive && !typed.sig_proxy);
        assert_eq!(typed.words, ["--odd"]);
        assert_eq!(sample("a -- b").expect("parses").words, ["a", "--", "b"]);
    }

    #[test]
    fn failures_are_told_in_docker_s_words_and_codes() {
        for (line, code, says) in [
            ("--foo a", 125, "unknown flag: --foo"),
            ("-x a", 125, "unknown shorthand flag: 'x' in -x"),
            ("-e", 125, "flag needs an argument: -e, --env"),
            ("-m 1x a", 125, "invalid argument \"1x\" for \"-m, --memory\" flag: invalid suffix: \"x\""),
            (
                "-i=maybe a",
                125,
                "invalid argument \"maybe\" for \"-i, --interactive\" flag: must be true or false",
            ),
            ("", 1, "'engine sample' requires at least 1 argument"),
        ] {
            let failure = sample(line).expect_err(line);
            assert_eq!(failure.code(), code, "{line}");
            assert!(failure.report().contains(says), "{line}: {}", failure.report());
            assert!(
                failure.report().contains("Usage:  engine sample [OPTIONS] IMAGE [COMMAND] [ARG...]"),
                "{line}"
            );
        }
        assert_eq!(sample("--help").expect_err("help").code(), 0);
        assert_eq!(sample("-h").expect_err("help").code(), 0);
    }
}
