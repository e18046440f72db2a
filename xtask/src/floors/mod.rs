//! `cargo xtask floors`: imports point down only, and what is dangerous or breaks often has one place.

mod house;

use std::path::Path;

use self::house::{BUILDER, DEFAULTS, FRONTENDS, NO_DOORS, PLACES, ROOMS, Room, UNSAFE};
use crate::source::imports::{Import, Target, imports};
use crate::source::words::{without_tests, words};
use crate::source::{Source, files};

/// The crate that has floors.
const CORE: &str = "engine-core";

/// Checks all files of the workspace in `root`.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let offences: Vec<String> = files(root)?.iter().flat_map(check).collect();
    offences.iter().for_each(|offence| println!("{offence}"));
    if offences.is_empty() { Ok(()) } else { Err(format!("floors: {} offences", offences.len())) }
}

/// A module of some crate.
struct Module {
    home: String,
    path: Vec<String>,
}

impl Module {
    /// Whether it is at `place`, or below it: `crate directory/module path`.
    fn is_in(&self, place: &str) -> bool {
        let (home, path) = place.rsplit_once('/').unwrap_or((place, ""));
        // A crate below another one's directory is another crate.
        self.home == home && begins(&self.path, path)
    }
}

/// What is wrong with a file: a line for each offence.
fn check(source: &Source) -> Vec<String> {
    let Some((home, path)) = source.module() else { return Vec::new() };
    if source.is_test() {
        return Vec::new();
    }
    let module = Module { home, path };
    let words = words(&source.text);
    let words = without_tests(&words);
    let mut offences = Vec::new();
    for word in &words {
        if word.text == "unsafe" && !UNSAFE.iter().any(|place| module.is_in(place)) {
            offences.push((word.line, "unsafe code is written in sys and in the shim only".to_owned()));
        }
    }
    for import in imports(&words, &module.path) {
        offences.extend(wrong(&module, &import).map(|why| (import.line, why)));
    }
    offences.sort();
    offences.dedup();
    let line = |number: usize| source.text.lines().nth(number.saturating_sub(1)).unwrap_or_default().trim();
    offences
        .into_iter()
        .map(|(number, why)| format!("{}:{number}: {} — {why}", source.path.display(), line(number)))
        .collect()
}

fn wrong(module: &Module, import: &Import) -> Option<String> {
    match &import.target {
        Target::Inside(path) if module.home == CORE => upwards(&module.path, path),
        Target::Inside(_) => None,
        Target::Outside(path) => misplaced(module, path).or_else(|| no_door(module, path)),
    }
}

fn begins(path: &[String], with: &str) -> bool {
    let mut wanted = with.split("::").filter(|name| !name.is_empty());
    let mut names = path.iter();
    wanted.all(|name| names.next().is_some_and(|found| found == name))
}

/// The room of a module.
fn room(path: &[String]) -> Option<&'static Room> {
    let rooms = ROOMS.iter().filter(|room| begins(path, room.path));
    rooms.max_by_key(|room| room.path.split("::").filter(|name| !name.is_empty()).count())
}

/// An import within `engine-core` that does not point down.
fn upwards(from: &[String], to: &[String]) -> Option<String> {
    let at = room(from)?;
    let below = room(to)?;
    // A module that declares its parts, or a builder that names the defaults.
    if at.name == below.name || from.first().is_some_and(|name| name == BUILDER.1) {
        return None;
    }
    if below.name == "door" && to.first().is_some_and(|name| !name.starts_with(char::is_uppercase)) {
        return Some(format!("the module {} has no room in the house yet: give it one", to.join("::")));
    }
    if below.name == "door" {
        return Some("the crate's door is above every room: name the module that it comes from".to_owned());
    }
    if below.floor >= at.floor {
        let how = if below.floor == at.floor { "beside" } else { "above" };
        return Some(format!("{} ({}) is {how} {} ({})", below.name, below.floor, at.name, at.floor));
    }
    if DEFAULTS.contains(&below.name) && at.name != "door" {
        return Some(format!("only {}::{} names the {}", BUILDER.0, BUILDER.1, below.name));
    }
    None
}

fn misplaced(module: &Module, path: &[String]) -> Option<String> {
    let place = PLACES.iter().find(|place| begins(path, place.what))?;
    let allowed = place.only.iter().any(|only| module.is_in(only));
    (!allowed).then(|| place.why.to_owned())
}

/// A frontend that reaches around the door.
fn no_door(module: &Module, path: &[String]) -> Option<String> {
    let (first, inner) = path.split_first()?;
    if first != "engine_core" || !FRONTENDS.contains(&module.home.as_str()) {
        return None;
    }
    let around =
        NO_DOORS.iter().any(|closed| begins(inner, closed)) || inner.iter().any(|name| name == "conformance");
    around.then(|| {
        "frontends use the engine through its door: the facade, its words and the contracts".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offences(path: &str, text: &str) -> Vec<String> {
        check(&Source { path: path.into(), text: text.to_owned() })
    }

    fn fine(path: &str, text: &str) {
        assert_eq!(offences(path, text), Vec::<String>::new());
    }

    fn wrong(path: &str, text: &str, why: &str) {
        let found = offences(path, text);
        assert!(found.len() == 1 && found[0].contains(why), "{path}: {text}: {found:?}");
    }

    #[test]
    fn imports_that_point_down_are_fine() {
        fine(
            "engine-core/src/container/start.rs",
            "use crate::{image, network, volume};\nuse super::record::ContainerRecord;",
        );
        fine(
            "engine-core/src/volume/local.rs",
            "use super::driver::VolumeDriver;\nuse crate::store::blocking;\nmod options;\nuse self::options::Plan;",
        );
        fine(
            "engine-core/src/store/containers.rs",
            "use super::Tx;\nuse crate::container::record::ContainerRecord;",
        );
        fine(
            "engine-core/src/builder.rs",
            "use crate::volume::local::Local;\nuse crate::image::overlay::Overlay;",
        );
        fine(
            "engine-core/src/volume/mod.rs",
            "pub mod driver;\nmod local;\npub use info::VolumeInfo;\nmod info;",
        );
        fine(
            "engine-core/src/lib.rs",
            "mod volume;\npub use volume::Volumes;\npub use network::driver::NetworkDriver;\nmod network;",
        );
    }

    #[test]
    fn imports_that_point_up_or_aside_are_told_with_their_line() {
        let found = offences("engine-core/src/volume/local.rs", "//! A room.\n\nuse super::lock::until;\n");
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with(
                "engine-core/src/volume/local.rs:3: use super::lock::until; — volumes (10) is above"
            ),
            "{found:?}"
        );
        wrong(
            "engine-core/src/store/volumes.rs",
            "use crate::volume::VolumeInfo;",
            "volumes (10) is above store",
        );
        wrong("engine-core/src/network/mod.rs", "use crate::volume;", "volumes (10) is beside networks");
        wrong(
            "engine-core/src/network/driver.rs",
            "fn f(x: crate::container::Container) {}",
            "containers (11) is above",
        );
        wrong("engine-core/src/error.rs", "use crate::id::ImageId;", "id (1) is above error");
        wrong("engine-core/src/volume/mod.rs", "use crate::Engine;", "door is above every room");
        wrong("engine-core/src/volume/mod.rs", "use crate::helpers::x;", "no room in the house");
    }

    #[test]
    fn only_the_builder_names_a_default() {
        wrong(
            "engine-core/src/container/start.rs",
            "use crate::runtime::linux::Linux;",
            "only engine-core::builder",
        );
        wrong(
            "engine-core/src/volume/mod.rs",
            "mod local;\nfn f() { local::Local::new() }",
            "only engine-core::builder",
        );
    }

    #[test]
    fn what_has_one_place_is_found_elsewhere() {
        fine("engine-core/src/store/mod.rs", "use rusqlite::Connection;");
        wrong("engine-core/src/volume/mod.rs", "use rusqlite::Connection;", "the only place with SQL");
        wrong(
            "engine-core/src/container/start.rs",
            "fn f() { std::process::Command::new(\"x\"); }",
            "starts no programs",
        );
        wrong(
            "engine-core/src/image/mod.rs",
            "use std::process;\nfn f() { process::Command::new(\"x\"); }",
            "starts no programs",
        );
        fine("engine-core/src/container/start.rs", "use std::process::ExitCode;");
        wrong("engine-core/src/network/ipam.rs", "use rtnetlink::Handle;", "netlink types stay");
        wrong(
            "engine-core/src/container/mod.rs",
            "use oci_spec::runtime::Spec;",
            "the runtime specification",
        );
        fine("engine-core/src/container/oci/mounts.rs", "use oci_spec::runtime::Spec;");
        wrong("engine-core/src/volume/mod.rs", "fn f() { unsafe { g() } }", "unsafe code");
        fine("engine-core/shim/src/sys.rs", "fn f() { unsafe { g() } }");
        fine("engine-core/src/sys/clone.rs", "// unsafe\nfn f() { unsafe { g() } }");
        fine(
            "engine-core/src/volume/mod.rs",
            "// unsafe\nconst X: &str = \"unsafe\";\n#[cfg(test)]\nmod tests { use rusqlite::Connection; }",
        );
    }

    #[test]
    fn frontends_come_through_the_door() {
        fine(
            "engine-cli/src/main.rs",
            "use engine_core::{Engine, spec::ContainerSpec, network::driver::PublishedPort};",
        );
        wrong("engine-cli/src/main.rs", "use engine_core::runtime::linux::Linux;", "through its door");
        wrong("engine-api/src/lib.rs", "use engine_shim::wire;", "the helper's wire");
    }
}
