//! Rust source as text: which files there are, their words, what of them is tests, and what they import.
//!
//! This is no compiler. It knows comments, strings and brackets, which is enough to read what people write.

pub(crate) mod imports;
pub(crate) mod words;

use std::path::{Path, PathBuf};

/// Directories that hold no source of ours.
const SKIPPED: [&str; 3] = ["target", ".git", "node_modules"];

/// A source file.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its path below the workspace.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// All Rust files below `root`, by path.
pub(crate) fn files(root: &Path) -> Result<Vec<Source>, String> {
    let mut found = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        let failed = |e: std::io::Error| format!("{}: {e}", directory.display());
        for entry in std::fs::read_dir(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (path, name) = (entry.path(), entry.file_name());
            if entry.file_type().map_err(failed)?.is_dir() {
                if !SKIPPED.iter().any(|skipped| name == *skipped) {
                    waiting.push(path);
                }
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
                let path = path.strip_prefix(root).unwrap_or(&path).to_owned();
                found.push(Source { path, text });
            }
        }
    }
    if found.is_empty() {
        return Err(format!("{}: no Rust source below it", root.display()));
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

impl Source {
    /// Whether all of the file is tests, or benches, or examples: what is built on the house and no part of it.
    pub(crate) fn is_test(&self) -> bool {
        const OUTSIDE: [&str; 6] = ["tests", "tests.rs", "benches", "examples", "fuzz", "conformance.rs"];
        self.path.components().any(|part| OUTSIDE.iter().any(|name| part.as_os_str() == *name))
    }

    /// The crate's directory and the module path within it: `engine-core/src/volume/local.rs` is `volume`, `local` of
    /// `engine-core`.
    pub(crate) fn module(&self) -> Option<(String, Vec<String>)> {
        let path = self.path.to_str()?.strip_suffix(".rs")?;
        let (home, inner) = match path.split_once("/src/") {
            Some((home, inner)) => (home, inner),
            None => ("", path.strip_prefix("src/")?),
        };
        let mut module: Vec<String> = inner.split('/').map(str::to_owned).collect();
        let last = module.last().map(String::as_str);
        if last == Some("mod") || (module.len() == 1 && matches!(last, Some("lib" | "main"))) {
            module.pop();
        }
        Some((home.to_owned(), module))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str) -> Source {
        Source { path: path.into(), text: String::new() }
    }

    #[test]
    fn a_path_says_which_module_it_is() {
        let module =
            |path| source(path).module().map(|(home, module)| format!("{home}:{}", module.join("::")));
        assert_eq!(module("engine-core/src/volume/local.rs").as_deref(), Some("engine-core:volume::local"));
        assert_eq!(module("engine-core/src/volume/mod.rs").as_deref(), Some("engine-core:volume"));
        assert_eq!(module("engine-core/src/lib.rs").as_deref(), Some("engine-core:"));
        assert_eq!(module("engine-core/shim/src/wire.rs").as_deref(), Some("engine-core/shim:wire"));
        assert_eq!(module("engine-core/shim/build.rs"), None);
    }

    #[test]
    fn tests_are_told_by_their_place() {
        assert!(source("engine-core/src/volume/tests.rs").is_test());
        assert!(source("tests/promise/crash.rs").is_test());
        assert!(!source("engine-core/src/volume/mod.rs").is_test());
    }
}
