//! What was typed means: one file for each command, and the table of them.

mod attach;
mod commit;
mod completion;
mod cp;
mod create;
mod df;
mod diff;
mod each;
mod events;
mod exec;
mod export;
mod filter;
pub(crate) mod help;
mod history;
mod images;
mod import;
mod info;
mod inspect;
mod kill;
mod load;
mod logs;
mod network;
mod partial;
mod pause;
mod port;
mod prune;
mod ps;
mod pull;
mod rename;
mod restart;
mod rm;
mod rmi;
mod run;
mod save;
mod spec;
mod start;
mod start_all;
mod stats;
mod stop;
mod tag;
mod top;
mod update;
pub(crate) mod version;
mod volume;
mod wait;

use std::future::Future;
use std::pin::Pin;

use clap::{ArgMatches, CommandFactory, FromArgMatches};

use crate::app::App;
use crate::args;
use crate::exit::{Failure, Outcome};

/// A command at work.
pub(crate) type Work = Pin<Box<dyn Future<Output = Outcome>>>;

/// A command.
pub(crate) struct Entry {
    /// Its names, the one to show first.
    pub(crate) paths: &'static [&'static str],
    /// Its arguments. Built only for the command that was named: all of them together take a millisecond.
    pub(crate) arguments: fn() -> clap::Command,
    /// Does it.
    pub(crate) run: fn(&ArgMatches, App) -> Work,
}

/// A command of the table: the structure of its arguments, what it does, and its names.
macro_rules! entry {
    ($arguments:ty, $run:path, [$($path:literal),+ $(,)?]) => {
        Entry {
            paths: &[$($path),+],
            arguments: <$arguments as CommandFactory>::command,
            run: |matches, app| {
                let arguments = <$arguments as FromArgMatches>::from_arg_matches(matches);
                Box::pin(async move { $run(arguments.map_err(defect)?, app).await })
            },
        }
    };
}

/// What the parser accepted does not fit the structure it is for.
fn defect(error: clap::Error) -> Failure {
    Failure::new(format!("the command line: {error}"))
}

/// The groups of commands, and what each is for.
pub(crate) const GROUPS: &[(&str, &str)] = &[
    ("container", "Manage containers"),
    ("image", "Manage images"),
    ("network", "Manage networks"),
    ("system", "Manage the engine"),
    ("volume", "Manage volumes"),
];

/// All commands.
pub(crate) const ENTRIES: &[Entry] = &[
    entry!(args::create::Run, run::run, ["run", "container run"]),
    entry!(args::container::Exec, exec::exec, ["exec", "container exec"]),
    entry!(args::container::Ps, ps::ps, ["ps", "container ls", "container list", "container ps"]),
    entry!(args::image::Pull, pull::pull, ["pull", "image pull"]),
    entry!(args::image::Ls, images::images, ["images", "image ls", "image list"]),
    entry!(args::container::Attach, attach::attach, ["attach", "container attach"]),
    entry!(args::container::Commit, commit::commit, ["commit", "container commit"]),
    entry!(args::container::Cp, cp::cp, ["cp", "container cp"]),
    entry!(args::create::Create, create::create, ["create", "container create"]),
    entry!(args::container::Diff, diff::diff, ["diff", "container diff"]),
    entry!(args::container::Export, export::export, ["export", "container export"]),
    entry!(args::system::Events, events::events, ["events", "system events"]),
    entry!(args::image::History, history::history, ["history", "image history"]),
    entry!(args::image::Import, import::import, ["import", "image import"]),
    entry!(args::system::Info, info::info, ["info", "system info"]),
    entry!(args::system::Inspect, inspect::any, ["inspect"]),
    entry!(args::container::Kill, kill::kill, ["kill", "container kill"]),
    entry!(args::image::Load, load::load, ["load", "image load"]),
    entry!(args::container::Logs, logs::logs, ["logs", "container logs"]),
    entry!(args::container::Port, port::port, ["port", "container port"]),
    entry!(args::container::Pause, pause::pause, ["pause", "container pause"]),
    entry!(args::container::Rename, rename::rename, ["rename", "container rename"]),
    entry!(args::container::Restart, restart::restart, ["restart", "container restart"]),
    entry!(args::container::Rm, rm::rm, ["rm", "container rm", "container remove"]),
    entry!(args::image::Rm, rmi::rmi, ["rmi", "image rm", "image remove"]),
    entry!(args::image::Save, save::save, ["save", "image save"]),
    entry!(args::container::Start, start::start, ["start", "container start"]),
    entry!(args::container::Stats, stats::stats, ["stats", "container stats"]),
    entry!(args::container::Stop, stop::stop, ["stop", "container stop"]),
    entry!(args::image::Tag, tag::tag, ["tag", "image tag"]),
    entry!(args::container::Top, top::top, ["top", "container top"]),
    entry!(args::container::Unpause, pause::unpause, ["unpause", "container unpause"]),
    entry!(args::update::Update, update::update, ["update", "container update"]),
    entry!(args::system::Version, version::version, ["version"]),
    entry!(args::container::Wait, wait::wait, ["wait", "container wait"]),
    entry!(args::system::Completion, completion::completion, ["completion"]),
    entry!(args::container::Inspect, inspect::containers, ["container inspect"]),
    entry!(args::container::Prune, prune::containers, ["container prune"]),
    entry!(args::image::Inspect, inspect::images, ["image inspect"]),
    entry!(args::image::Prune, prune::images, ["image prune"]),
    entry!(args::network::Create, network::create, ["network create"]),
    entry!(args::network::Inspect, inspect::networks, ["network inspect"]),
    entry!(args::network::Ls, network::ls, ["network ls", "network list"]),
    entry!(args::network::Prune, prune::networks, ["network prune"]),
    entry!(args::network::Rm, network::rm, ["network rm", "network remove"]),
    entry!(args::system::Df, df::df, ["system df"]),
    entry!(args::system::Prune, prune::system, ["system prune"]),
    entry!(args::system::StartAll, start_all::start_all, ["system start-all"]),
    entry!(args::volume::Create, volume::create, ["volume create"]),
    entry!(args::volume::Inspect, inspect::volumes, ["volume inspect"]),
    entry!(args::volume::Ls, volume::ls, ["volume ls", "volume list"]),
    entry!(args::volume::Prune, prune::volumes, ["volume prune"]),
    entry!(args::volume::Rm, volume::rm, ["volume rm", "volume remove"]),
];

/// What the first words named.
pub(crate) enum Found<'a> {
    /// A command: itself, as what it was named, and the words that are its own.
    Command {
        /// The command.
        entry: &'static Entry,
        /// `engine container run`.
        path: String,
        /// Its arguments.
        rest: &'a [String],
    },
    /// A wish for help about these words: nothing, a group, or a command.
    Help(&'a [String]),
    /// Nothing that there is.
    Unknown(String),
}

/// Finds the command that the words begin with.
pub(crate) fn find(words: &[String]) -> Found<'_> {
    let (first, rest) = match words {
        [] => return Found::Help(words),
        [first, rest @ ..] => (first, rest),
    };
    if first == "help" {
        return Found::Help(rest);
    }
    let (name, rest) = match rest {
        _ if !is_group(first) => (first.clone(), rest),
        [] => return Found::Help(words),
        [second, ..] if second == "--help" || second == "-h" => return Found::Help(&words[..1]),
        [second, rest @ ..] => (format!("{first} {second}"), rest),
    };
    match named(&name) {
        Some(entry) => Found::Command { entry, path: format!("engine {name}"), rest },
        None => Found::Unknown(format!("engine {name}")),
    }
}

/// The command of that name.
pub(crate) fn named(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.paths.contains(&name))
}

/// Whether the word is a group of commands.
pub(crate) fn is_group(word: &str) -> bool {
    GROUPS.iter().any(|(group, _)| *group == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    fn found(line: &str) -> Option<(&'static str, String, usize)> {
        match find(&words(line)) {
            Found::Command { entry, path, rest } => Some((entry.paths[0], path, rest.len())),
            _ => None,
        }
    }

    #[test]
    fn commands_are_found_by_all_their_names() {
        assert_eq!(found("run -it alpine"), Some(("run", "engine run".into(), 2)));
        assert_eq!(found("container ls -a"), Some(("ps", "engine container ls".into(), 1)));
        assert_eq!(found("image rm x"), Some(("rmi", "engine image rm".into(), 1)));
        assert_eq!(found("volume ls"), Some(("volume ls", "engine volume ls".into(), 0)));
        assert_eq!(found("frob"), None);
        assert_eq!(found("container frob"), None);
        assert!(matches!(find(&words("container")), Found::Help([_])));
        assert!(matches!(find(&words("container --help")), Found::Help([_])));
        assert!(matches!(find(&words("help run")), Found::Help([_])));
        assert!(matches!(find(&[]), Found::Help([])));
    }

    #[test]
    fn no_two_commands_have_a_name_in_common() {
        let mut names: Vec<&str> = ENTRIES.iter().flat_map(|entry| entry.paths.iter().copied()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn every_command_s_arguments_are_well_formed_and_told() {
        for entry in ENTRIES {
            let command = args::prepare((entry.arguments)());
            assert!(command.get_about().is_some(), "{} has no help", entry.paths[0]);
            for arg in command.get_opts().filter(|arg| !arg.is_hide_set()) {
                assert!(arg.get_help().is_some(), "{} --{} has no help", entry.paths[0], arg.get_id());
            }
            command.debug_assert();
        }
    }
}
