//! `cargo xtask bench [--quick] [ROW…]`: builds what is measured as it is shipped, and measures it.

use std::process::Command;

use crate::test::step;

/// Builds with the profile of releases and runs the bench.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    step("building", Command::new(env!("CARGO")).args(["build", "--profile", "dist", "--workspace"]))?;
    step("measuring", Command::new("target/dist/engine-bench").args(args))
}
