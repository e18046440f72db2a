//! Chores of the workspace: `cargo xtask <chore>`.
#![expect(clippy::print_stdout, reason = "what a chore finds goes to whoever runs it")]
#![expect(clippy::print_stderr, reason = "and how it ended too")]

mod bench;
mod floors;
mod promises;
mod sizes;
mod soak;
mod source;
mod test;
mod vm;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask test
       cargo xtask bench [--quick] [ROW…]
       cargo xtask floors|sizes|promises [DIRECTORY]
       cargo xtask vm-test [FILTER…]
       cargo xtask soak [SECONDS [CONTAINERS]]

  test     everything that has to hold; installs what it needs
  bench    the engine beside Docker, Podman, crun and runc
  floors   imports point down only, and each dangerous thing has one place
  sizes    a file is one idea: mean below 200 lines, none of 600
  promises what docs/compatibility.md says works has a test
  vm-test  tests with such names on a Debian kernel with control groups of version 2
  soak     a week of life in minutes: 300 seconds and 100 containers unless given

DIRECTORY is the workspace to look at, this one unless given.";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let chore = arguments.next().unwrap_or_default();
    let root = arguments.next().map_or_else(workspace, PathBuf::from);
    let rest: Vec<String> = std::env::args().skip(2).collect();
    let result = match chore.as_str() {
        "test" => test::run(&root),
        "bench" => bench::run(&rest),
        "floors" => floors::run(&root),
        "sizes" => sizes::run(&root),
        "promises" => promises::run(&root),
        "vm-test" => vm::run(&rest),
        "soak" => soak::run(&rest),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}
