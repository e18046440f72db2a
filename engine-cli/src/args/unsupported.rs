//! Docker's flags for making a container that this engine does not have: known, so that they are refused by name
//! rather than as a mistake of spelling, and accepted where they ask for what is so anyway.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use engine_core::{Error, ErrorKind};

/// A flag of docker.
struct Flag {
    name: &'static str,
    /// Whether it takes a value.
    value: bool,
    /// The values that ask for nothing special; `*` is any.
    harmless: &'static [&'static str],
    /// What to do instead.
    remedy: &'static str,
}

const fn refused(name: &'static str, remedy: &'static str) -> Flag {
    Flag { name, value: true, harmless: &[], remedy }
}

const fn refused_switch(name: &'static str, remedy: &'static str) -> Flag {
    Flag { name, value: false, harmless: &["false"], remedy }
}

const fn unless(name: &'static str, harmless: &'static [&'static str], remedy: &'static str) -> Flag {
    Flag { name, value: true, harmless, remedy }
}

const fn ignored(name: &'static str) -> Flag {
    Flag { name, value: true, harmless: &["*"], remedy: "" }
}

const fn ignored_switch(name: &'static str) -> Flag {
    Flag { name, value: false, harmless: &["*"], remedy: "" }
}

const FLAGS: &[Flag] = &[
    ignored("cpu-count"),
    ignored("cpu-percent"),
    ignored_switch("disable-content-trust"),
    refused(
        "gpus",
        "the engine drives no such devices: use --device for their files, and mount their libraries",
    ),
    ignored("io-maxbandwidth"),
    ignored("io-maxiops"),
    unless("isolation", &["", "default"], "leave the flag away"),
    ignored("kernel-memory"),
    refused("storage-opt", "limit the file system of the store: overlay has no quotas of its own"),
    refused_switch("use-api-socket", "mount the socket with --volume"),
    unless("userns", &["", "host"], "leave the flag away: users are those of the host"),
];

/// The flags of the table that were given, with their values.
#[derive(Debug, Default)]
pub(crate) struct Unsupported(Vec<(usize, String)>);

impl Unsupported {
    /// Refuses the first flag that asks for something.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`], naming the flag and what to do instead.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for (i, value) in &self.0 {
            let Some(flag) = FLAGS.get(*i) else { continue };
            if !flag.harmless.iter().any(|harmless| *harmless == "*" || *harmless == value) {
                let subject = if flag.value {
                    format!("flag --{}={value}", flag.name)
                } else {
                    format!("flag --{}", flag.name)
                };
                return Err(Error::new(ErrorKind::Unsupported, subject)
                    .because("this version of the engine does not support it")
                    .with_remedy(flag.remedy));
            }
        }
        Ok(())
    }
}

impl Args for Unsupported {
    fn augment_args(command: Command) -> Command {
        FLAGS.iter().fold(command, |command, flag| {
            let arg = Arg::new(flag.name).long(flag.name).hide(true);
            let arg = match flag.value {
                true => arg.action(ArgAction::Append),
                false => arg.action(ArgAction::SetTrue),
            };
            command.arg(arg)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Unsupported::augment_args(command)
    }
}

impl FromArgMatches for Unsupported {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Unsupported, clap::Error> {
        let mut given = Vec::new();
        for (i, flag) in FLAGS.iter().enumerate() {
            if flag.value {
                given.extend(
                    matches.get_many::<String>(flag.name).into_iter().flatten().map(|v| (i, v.clone())),
                );
            } else if matches.get_flag(flag.name) {
                given.push((i, "true".to_owned()));
            }
        }
        Ok(Unsupported(given))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Unsupported::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::create::Run;
    use crate::args::{Typed, parse};

    fn check(line: &str) -> Result<(), String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let Ok(Typed::Arguments(matches)) = parse(Run::command(), "engine run", &words) else {
            panic!("{line} does not parse")
        };
        let run = Run::from_arg_matches(&matches).expect("it parsed");
        run.container.unsupported.check().map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (line, subject) in [
            ("--gpus all alpine", "flag --gpus=all"),
            ("--storage-opt size=1G alpine", "flag --storage-opt=size=1G"),
            ("--userns keep-id alpine", "flag --userns=keep-id"),
            ("--use-api-socket alpine", "flag --use-api-socket"),
        ] {
            let error = check(line).expect_err(line);
            assert!(error.starts_with(subject), "{error}");
        }
    }

    #[test]
    fn what_is_so_anyway_is_accepted() {
        for line in [
            "--userns host alpine",
            "--disable-content-trust --use-api-socket=false alpine",
            "--kernel-memory 4m --cpu-count 2 alpine",
        ] {
            assert_eq!(check(line), Ok(()), "{line}");
        }
    }
}
