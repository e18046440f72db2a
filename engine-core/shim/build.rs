//! Builds the helper program, static, and tells the library where it is.
//!
//! A ready program named in `ENGINE_SHIM_PROGRAM` replaces the build. The program is built for the musl target of this
//! architecture where that is installed; otherwise for the gnu target with a static C library, and it is then thrice as
//! large. `ENGINE_SHIM_TARGET` names one of the two.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    for path in ["src", "build.rs", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={path}");
    }
    println!("cargo::rerun-if-env-changed=ENGINE_SHIM_PROGRAM");
    println!("cargo::rerun-if-env-changed=ENGINE_SHIM_TARGET");
    // The nested build comes by here as well, and must not nest again.
    let wanted = std::env::var_os("CARGO_FEATURE_EMBEDDED").is_some();
    let nested = std::env::var_os("CARGO_FEATURE_PROGRAM").is_some();
    if !wanted || nested {
        return;
    }
    let program = match std::env::var_os("ENGINE_SHIM_PROGRAM") {
        Some(ready) => PathBuf::from(ready),
        None => build(),
    };
    assert!(program.is_file(), "the helper program {} is not a file", program.display());
    println!("cargo::rerun-if-changed={}", program.display());
    println!("cargo::rustc-env=ENGINE_SHIM_PROGRAM={}", program.display());
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|e| panic!("cargo sets {name}: {e}"))
}

fn build() -> PathBuf {
    let architecture = variable("CARGO_CFG_TARGET_ARCH");
    let musl = format!("{architecture}-unknown-linux-musl");
    let gnu = format!("{architecture}-unknown-linux-gnu");
    // A program without the standard library has to name the C library itself. That of gnu unwinds for the sake of
    // threads, which the program has none of, and names who does it.
    let use_musl =
        std::env::var("ENGINE_SHIM_TARGET").map_or_else(|_| is_installed(&musl), |name| name == musl);
    let (target, libraries) = if use_musl { (musl, "-lc") } else { (gnu, "-lc -lgcc_eh") };
    // The compiler leaves the linker looking for shared libraries.
    let libraries: String = format!("-Wl,-Bstatic -Wl,--start-group {libraries} -Wl,--end-group")
        .split(' ')
        .map(|library| format!(" -C link-arg={library}"))
        .collect();
    let folder = Path::new(&variable("OUT_DIR")).join("program");
    let mut cargo = Command::new(variable("CARGO"));
    // What the outer build was given is not meant for this one: its flags, its features, its jobserver's wrappers.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let outer = text.starts_with("CARGO_")
            && !matches!(
                &*text,
                "CARGO_HOME" | "CARGO_NET_OFFLINE" | "CARGO_MAKEFLAGS" | "CARGO_HTTP_CAINFO"
            );
        let flags =
            matches!(&*text, "RUSTFLAGS" | "RUSTC_WRAPPER" | "RUSTC_WORKSPACE_WRAPPER" | "TARGET" | "HOST");
        if outer && !text.starts_with("CARGO_REGISTRIES_") && !text.starts_with("CARGO_SOURCE_") || flags {
            cargo.env_remove(name);
        }
    }
    cargo
        .args(["build", "--quiet", "--bin", "engine-shim", "--no-default-features", "--features", "program"])
        .args(["--profile", "shim", "--target", &target, "--target-dir"])
        .arg(&folder)
        .arg("--manifest-path")
        .arg(Path::new(&variable("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .env("RUSTFLAGS", format!("-C target-feature=+crt-static -C relocation-model=static{libraries}"));
    let status = cargo.status().unwrap_or_else(|e| panic!("cannot run cargo for the helper program: {e}"));
    assert!(status.success(), "building the helper program for {target} failed; see above");
    folder.join(target).join("shim").join("engine-shim")
}

/// Whether the compiler has the standard library for `target`.
fn is_installed(target: &str) -> bool {
    let output =
        Command::new(variable("RUSTC")).args(["--print", "target-libdir", "--target", target]).output();
    output.is_ok_and(|output| {
        let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success() && Path::new(&folder).is_dir()
    })
}
