//! The test programs, built here for the machine to run.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::test::FEATURES;

/// One test program.
pub(super) struct Program {
    /// The package it tests.
    pub(super) name: String,
    /// Where its tests expect to run: the directory of the package.
    pub(super) directory: PathBuf,
    /// The file.
    pub(super) path: PathBuf,
}

/// Builds those that have something to say about the host's kernel.
pub(super) fn build() -> Result<Vec<Program>, String> {
    println!("== building tests");
    let output = Command::new(env!("CARGO"))
        .args(["test", "--package", "engine-core", "--package", "engine-cli", "--features", FEATURES])
        .args(["--lib", "--test", "embed", "--test", "promise", "--no-run"])
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("cargo: {e}"))?;
    if !output.status.success() {
        return Err("the tests do not build".to_owned());
    }
    let programs = parse(&String::from_utf8_lossy(&output.stdout));
    if programs.is_empty() { Err("cargo built no test program".to_owned()) } else { Ok(programs) }
}

/// Cargo's messages, a line each; of interest are those about an executable with tests.
fn parse(messages: &str) -> Vec<Program> {
    let program = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let test = message["profile"]["test"].as_bool()?;
        let path = PathBuf::from(message["executable"].as_str()?);
        let manifest = PathBuf::from(message["manifest_path"].as_str()?);
        let name = message["target"]["name"].as_str()?.to_owned();
        let directory = manifest.parent()?.to_owned();
        test.then_some(Program { name, directory, path })
    };
    messages.lines().filter_map(program).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_executables_with_tests_are_programs() {
        let message = |test: bool, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/a/b/Cargo.toml","target":{{"name":"b"}},"profile":{{"test":{test}}},"executable":{executable}}}"#
            )
        };
        let lines = [
            message(true, "\"/t/b-1\""),
            message(false, "\"/t/b\""),
            message(true, "null"),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
        ];
        let found = parse(&lines.join("\n"));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, PathBuf::from("/t/b-1"));
        assert_eq!((found[0].name.as_str(), found[0].directory.to_str()), ("b", Some("/a/b")));
    }
}
