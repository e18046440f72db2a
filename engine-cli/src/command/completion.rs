//! `engine completion`.

use clap::{Command, CommandFactory};

use super::{ENTRIES, GROUPS};
use crate::app::App;
use crate::args::global::Global;
use crate::args::prepare;
use crate::args::system::Completion;
use crate::exit::{Failure, Outcome};
use crate::render::print;

/// Prints the script that completes the commands and flags of this program.
pub(super) async fn completion(args: Completion, _app: App) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut tree(), "engine", &mut script);
    let script =
        String::from_utf8(script).map_err(|e| Failure::new(format!("the script is no text: {e}")))?;
    print(&script)?;
    Ok(0)
}

/// All commands as one tree, which nothing else needs.
fn tree() -> Command {
    let mut root = prepare(Global::command())
        .no_binary_name(false)
        .mut_arg("words", |arg| arg.hide(true))
        .name("engine");
    for entry in ENTRIES {
        for path in entry.paths.iter().filter(|path| !path.contains(' ')) {
            root = root.subcommand(named(entry.arguments, path));
        }
    }
    for (group, about) in GROUPS {
        let mut command = Command::new(*group).about(*about);
        for entry in ENTRIES {
            for path in entry.paths {
                if let Some((first, own)) = path.split_once(' ')
                    && first == *group
                {
                    command = command.subcommand(named(entry.arguments, own));
                }
            }
        }
        root = root.subcommand(command);
    }
    root
}

fn named(arguments: fn() -> Command, name: &'static str) -> Command {
    prepare(arguments()).no_binary_name(false).name(name)
}

#[cfg(test)]
mod tests {
    use clap_complete::Shell;

    use super::*;

    #[test]
    fn every_shell_gets_a_script_with_the_commands_and_flags() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut tree(), "engine", &mut script);
            let script = String::from_utf8(script).expect("text");
            assert!(script.contains("prune") && script.contains("no-trunc"), "{shell}");
        }
    }
}
