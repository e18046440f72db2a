//! `cargo xtask promises`: what `docs/compatibility.md`, `docs/oci.md` and `docs/runtime-spec.md` say works has a test that
//! drives the command line.
//!
//! Their tables have a row for each command and flag: what docker or runc calls it, whether it works, and the tests that show
//! it, as `file::test` below `tests/promise`. A row that works names a test that exists, and one of the forms in which
//! the row writes its flag is typed in that test's file.

use std::collections::BTreeMap;
use std::path::Path;

/// Where the tables are.
const PAGES: [&str; 3] = ["docs/compatibility.md", "docs/oci.md", "docs/runtime-spec.md"];
/// What a row may say of itself.
const STATES: [&str; 3] = ["works", "differs", "not yet"];

/// Checks all rows.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()));
    let folder = root.join("tests/promise");
    let mut tests = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?.flatten() {
        let name = entry.file_name().to_string_lossy().trim_end_matches(".rs").to_owned();
        tests.insert(name, read(&entry.path())?);
    }
    let mut missing = 0;
    for page in PAGES {
        let text = read(&root.join(page))?;
        let (counts, faults) = check(&text, &tests);
        faults.iter().for_each(|fault| println!("{page}:{fault}"));
        missing += faults.len();
        let counts: Vec<String> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
        println!("promises: {page}: {}", counts.join(", "));
    }
    if missing == 0 { Ok(()) } else { Err(format!("promises: {missing} rows without a test")) }
}

/// How many rows say what, and a line for each row that does not keep to the rules.
fn check<'a>(page: &'a str, tests: &BTreeMap<String, String>) -> (BTreeMap<&'a str, usize>, Vec<String>) {
    let (mut counts, mut faults) = (BTreeMap::new(), Vec::new());
    for (at, line) in page.lines().enumerate() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        // A row of three cells has a bar at each end; the head of a table and the line below it are none.
        let ["", what, state, proof, ""] = cells.as_slice() else { continue };
        if !what.starts_with('`') {
            continue;
        }
        if !STATES.contains(state) {
            faults.push(format!("{}: {state:?} is not one of {STATES:?}", at + 1));
            continue;
        }
        *counts.entry(*state).or_default() += 1;
        if *state != "not yet"
            && let Err(reason) = proven(what, proof, tests)
        {
            // What differs may differ in words alone.
            if *state == "works" || quoted(proof).any(|name| name.contains("::")) {
                faults.push(format!("{}: {what}: {reason}", at + 1));
            }
        }
    }
    (counts, faults)
}

/// The parts of a cell that are between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

fn proven(what: &str, proof: &str, tests: &BTreeMap<String, String>) -> Result<(), String> {
    let names: Vec<&str> = quoted(proof).filter(|name| name.contains("::")).collect();
    if names.is_empty() {
        return Err("it names no test".to_owned());
    }
    // The last word is the flag, or the command itself.
    let typed: Vec<String> = quoted(what)
        .filter_map(|form| form.split(' ').next_back())
        .flat_map(|word| {
            [format!("\"{word}\""), format!("\"{word}="), format!(" {word} "), format!("{word}\"")]
        })
        .collect();
    let mut shown = false;
    for name in names {
        let (file, test) = name.split_once("::").unwrap_or((name, ""));
        let text = tests.get(file).ok_or_else(|| format!("there is no tests/promise/{file}.rs"))?;
        if !text.contains(&format!("fn {test}(")) {
            return Err(format!("there is no test {name}"));
        }
        shown |= typed.iter().any(|form| text.contains(form.as_str()));
    }
    if shown { Ok(()) } else { Err("none of the tests' files types it".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(row: &str) -> Vec<String> {
        let text = "fn it_lives() { engine(&[\"run\", \"-d\", \"busybox\"]) }".to_owned();
        check(row, &BTreeMap::from([("life".to_owned(), text)])).1
    }

    #[test]
    fn a_row_that_works_names_a_test_that_types_it() {
        assert_eq!(faults("| `run` `-d`, `--detach` | works | `life::it_lives` |"), Vec::<String>::new());
        for row in [
            "| `run --rm` | works | `life::it_lives` |",
            "| `run -d` | works | `life::it_dies` |",
            "| `run -d` | works | `death::it_lives` |",
            "| `run -d` | works | |",
            "| `run -d` | perhaps | `life::it_lives` |",
        ] {
            assert_eq!(faults(row).len(), 1, "{row}");
        }
        assert_eq!(faults("| `run --gpus` | not yet | use `--device` |"), Vec::<String>::new());
        assert_eq!(faults("| what | state | tests |\n|---|---|---|"), Vec::<String>::new());
    }
}
