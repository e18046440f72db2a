//! `cargo xtask soak`: the soak test at its full length.

use std::process::Command;

/// Runs it for so many seconds with so many containers.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let number = |at: usize, default: &str| -> Result<String, String> {
        let text = arguments.get(at).map_or(default, String::as_str);
        text.parse::<u32>().map_err(|_| format!("{text:?} is no number"))?;
        Ok(text.to_owned())
    };
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["test", "-p", "engine-cli", "--features", "fault-points,engine-core/conformance"])
        .args(["--test", "soak", "--", "--nocapture"])
        .env("ENGINE_SOAK_SECONDS", number(0, "300")?)
        .env("ENGINE_SOAK_CONTAINERS", number(1, "100")?);
    crate::test::step("soak", &mut command)
}
