//! The table of the house: which room is on which floor, and what has only one place.
//!
//! In words. A room may import what is on a floor below its own, and itself; two rooms of one floor do not know each
//! other. The order is that of DESIGN.md with one addition, which the store makes honest: it keeps records, so the
//! plain types of records have to be below it. Records are the vocabulary's, those of the driver contracts and that of
//! a container; so the contracts stand below the store and know nothing of it, and the store calls nobody, it only
//! stores what they describe. The defaults implement contracts and may use the store; who uses the defaults names the
//! contract, and only the builder names the default.
//!
//! Three sets of pure functions are lower than the services whose folders they are in, because others compute with them:
//! the arithmetic of addresses, the documents of images, and the translation of a wish into an OCI specification.
//!
//! Tests, benches, examples and conformance suites are not in the house: they may look anywhere.

/// A room of `engine-core`: a module with all that is below it, except for the rooms further down.
pub(crate) struct Room {
    /// The module's path.
    pub(crate) path: &'static str,
    /// Modules with the same name are one room.
    pub(crate) name: &'static str,
    pub(crate) floor: u8,
}

const fn room(floor: u8, name: &'static str, path: &'static str) -> Room {
    Room { path, name, floor }
}

/// A module belongs to the room with the longest path that it begins with.
pub(crate) const ROOMS: [Room; 47] = [
    // Vocabulary: parsed once, no I/O. Each knows the ones before it.
    room(0, "error", "error"),
    room(1, "id", "id"),
    room(2, "reference", "reference"),
    room(3, "spec", "spec"),
    room(4, "event", "event"),
    // Ground, lower half: system calls.
    room(5, "sys", "sys"),
    // The journal of events, which any service tells what it has done.
    room(6, "journal", "journal"),
    // Contracts of drivers with the types of their records, and what is recorded of a container.
    room(6, "runtime contract", "runtime"),
    room(6, "runtime contract", "runtime::driver"),
    room(6, "runtime contract", "runtime::session"),
    room(6, "image contract", "image::driver"),
    room(6, "registry contract", "registry"),
    room(6, "registry contract", "registry::driver"),
    room(6, "network contract", "network::driver"),
    room(6, "volume contract", "volume::driver"),
    room(6, "container record", "container::record"),
    // Ground, upper half: the records.
    room(6, "image limits", "image::limits"),
    room(7, "store", "store"),
    // Pure functions.
    room(7, "addresses", "network::ipam"),
    room(7, "image documents", "image::config"),
    room(7, "image documents", "image::manifest"),
    room(7, "image archives", "image::tar"),
    room(8, "container specification", "container::oci"),
    // Defaults: each implements one contract.
    room(8, DEFAULTS[0], "runtime::linux"),
    room(8, DEFAULTS[1], "image::overlay"),
    room(8, DEFAULTS[2], "registry::oci"),
    room(8, DEFAULTS[3], "network::linux"),
    room(8, DEFAULTS[4], "volume::local"),
    // What services hold.
    room(9, "credentials", "registry::credentials"),
    room(9, "parts", "parts"),
    // Services.
    room(10, "images", "image"),
    room(10, "networks", "network"),
    room(10, "volumes", "volume"),
    room(11, "containers", "container"),
    room(12, "build", "build"),
    room(13, "system", "system"),
    // Facade.
    room(14, "engine", "engine"),
    room(14, "engine", "builder"),
    room(15, "blocking", "blocking"),
    // The door imports from everywhere, and nobody goes back in through it.
    room(16, "door", ""),
    room(16, "door", "prelude"),
    // The suites a driver has to pass are tests, but built with a feature.
    room(17, "conformance", "runtime::conformance"),
    room(17, "conformance", "image::conformance"),
    room(17, "conformance", "registry::conformance"),
    room(17, "conformance", "network::conformance"),
    room(17, "conformance", "volume::conformance"),
    room(17, "conformance", "conformance"),
];

/// The rooms that only the builder may name.
pub(crate) const DEFAULTS: [&str; 5] =
    ["default runtime", "default image store", "default registry", "default networks", "default volumes"];

/// The one file that names the defaults, and its crate.
pub(crate) const BUILDER: (&str, &str) = ("engine-core", "builder");

/// Something of which there is one place.
pub(crate) struct Place {
    /// The path or word it begins with.
    pub(crate) what: &'static str,
    /// The modules that may have it, as `crate directory/module path`, with all below them.
    pub(crate) only: &'static [&'static str],
    pub(crate) why: &'static str,
}

/// The whole house, the frontends included: who else has one of these is told.
pub(crate) const PLACES: [Place; 12] = [
    Place { what: "rusqlite", only: &["engine-core/store"], why: "the only place with SQL is store" },
    Place { what: "netlink_packet_core", only: NETLINK, why: "netlink types stay inside network::linux" },
    Place { what: "netlink_packet_route", only: NETLINK, why: "netlink types stay inside network::linux" },
    Place { what: "netlink_sys", only: NETLINK, why: "netlink types stay inside network::linux" },
    Place { what: "rtnetlink", only: NETLINK, why: "netlink types stay inside network::linux" },
    Place {
        what: "oci_spec",
        only: &["engine-core/runtime", "engine-core/container::oci"],
        why: "the runtime specification is spoken by runtime and written by container::oci",
    },
    Place { what: "std::process::Command", only: COMMANDS, why: "the library starts no programs but these" },
    Place { what: "tokio::process", only: COMMANDS, why: "the library starts no programs but these" },
    Place {
        what: "nix::unistd::fork",
        only: &["engine-core/shim/"],
        why: "the host never runs our code after a fork",
    },
    Place {
        what: "std::os::unix::process::CommandExt",
        only: COMMANDS,
        why: "the host never runs our code between fork and exec",
    },
    Place {
        what: "engine_shim",
        only: &["engine-core/runtime", "engine-core/journal", "engine-core/shim/"],
        why: "the helper's wire is spoken by runtime alone, and its journal read by ours",
    },
    Place {
        what: "reqwest",
        only: &["engine-core/registry::oci", "engine-cli/"],
        why: "the library speaks HTTP to registries alone",
    },
];

const NETLINK: &[&str] = &["engine-core/network::linux", "engine-core/runtime", "engine-core/shim/"];
const COMMANDS: &[&str] = &[
    "engine-core/container::top",
    "engine-core/runtime::linux::spawn",
    "engine-core/registry::credentials",
    "engine-core/shim/",
    "xtask/",
    "benches/",
    "engine-cli/",
];

/// Where `unsafe` may be written.
pub(crate) const UNSAFE: [&str; 3] = ["engine-core/sys", "engine-core/shim/", "bindings/c/"];

/// The crates that are frontends.
pub(crate) const FRONTENDS: [&str; 4] = ["engine-cli", "engine-api", "bindings/c", "bindings/python"];

/// Modules of `engine-core` that are public for those who implement drivers or test them, and no door of a frontend.
pub(crate) const NO_DOORS: [&str; 6] =
    ["runtime::linux", "network::linux", "image::overlay", "registry::oci", "volume::local", "conformance"];
