//! Debian's stock kernel: downloaded once and unpacked, not installed, as that would touch how this host boots.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where it is kept between runs.
const CACHE: &str = "/var/cache/engine-tests/vm";
/// The package that depends on the newest one.
const PACKAGE: &str = "linux-image-amd64";

/// An unpacked kernel.
pub(super) struct Kernel {
    /// As `uname -r` has it.
    pub(super) version: String,
    directory: PathBuf,
}

/// The kernel that was unpacked by an earlier run, or else the one that Debian has now.
pub(super) fn find() -> Result<Kernel, String> {
    match unpacked() {
        Some(kernel) => Ok(kernel),
        None => {
            fetch()?;
            unpacked().ok_or(format!("there is no kernel in the package that was unpacked to {CACHE}"))
        }
    }
}

fn unpacked() -> Option<Kernel> {
    let packages = std::fs::read_dir(CACHE).ok()?.flatten().map(|entry| entry.path());
    packages.filter(|path| path.extension().is_none_or(|end| end != "part")).find_map(|directory| {
        let mut files = std::fs::read_dir(directory.join("boot")).ok()?.flatten();
        let version =
            files.find_map(|file| Some(file.file_name().to_str()?.strip_prefix("vmlinuz-")?.to_owned()))?;
        Some(Kernel { version, directory })
    })
}

/// Downloads and unpacks it; the directory gets its name when all is there.
fn fetch() -> Result<(), String> {
    let name = name()?;
    let error = |e: std::io::Error| format!("{CACHE}: {e}");
    let part = Path::new(CACHE).join(format!("{name}.part"));
    let _ = std::fs::remove_dir_all(&part);
    std::fs::create_dir_all(&part).map_err(error)?;
    step(
        "downloading a kernel",
        // Apt's own user cannot write here.
        Command::new("apt-get")
            .args(["-q", "-o", "APT::Sandbox::User=root", "download", &name])
            .current_dir(&part),
    )?;
    let mut files = std::fs::read_dir(&part).map_err(error)?.flatten().map(|file| file.path());
    let package = files.next().ok_or("apt-get downloaded nothing")?;
    step("unpacking it", Command::new("dpkg-deb").arg("-x").arg(&package).arg(&part))?;
    std::fs::remove_file(&package).map_err(error)?;
    let version = name.trim_start_matches("linux-image-");
    // Where each module is and what it needs: the package's installation would find out.
    step(
        "listing its modules",
        Command::new("/bin/busybox").arg("depmod").arg("-b").arg(&part).arg(version),
    )?;
    std::fs::rename(&part, part.with_file_name(&name)).map_err(error)
}

/// The package of the newest kernel.
fn name() -> Result<String, String> {
    for update in [false, true] {
        if update {
            step("asking for packages", Command::new("apt-get").args(["update", "-qq"]))?;
        }
        let output = Command::new("apt-cache").args(["depends", PACKAGE]).stderr(Stdio::null()).output();
        let text = output.map_err(|e| format!("apt-cache: {e}"))?.stdout;
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut words = text.split_whitespace().skip_while(|word| *word != "Depends:");
        if let Some(name) = words.nth(1) {
            return Ok(name.to_owned());
        }
    }
    Err(format!("apt knows no package {PACKAGE}; this needs Debian's packages"))
}

impl Kernel {
    /// The file to boot.
    pub(super) fn image(&self) -> PathBuf {
        self.directory.join("boot").join(format!("vmlinuz-{}", self.version))
    }

    /// What belongs at `/lib/modules/<version>`.
    pub(super) fn modules_directory(&self) -> PathBuf {
        self.directory.join("lib/modules").join(&self.version)
    }

    /// The files of these modules and of all that they need, in the order to load them in.
    pub(super) fn modules(&self, names: &[&str]) -> Result<Vec<PathBuf>, String> {
        let directory = self.modules_directory();
        let list = super::read(&directory.join("modules.dep"))?;
        let list = String::from_utf8_lossy(&list);
        let needs: BTreeMap<&str, Vec<&str>> = (list.lines())
            .filter_map(|line| line.split_once(':'))
            .map(|(file, needs)| (file, needs.split_whitespace().collect()))
            .collect();
        let mut order = Vec::new();
        for name in names {
            // Compressed or not. What is part of the kernel itself is not listed.
            if let Some(file) = needs.keys().find(|file| file.contains(&format!("/{name}.ko"))) {
                visit(file, &needs, &mut order);
            }
        }
        Ok(order.into_iter().map(|file| directory.join(file)).collect())
    }
}

fn visit<'a>(file: &'a str, needs: &BTreeMap<&'a str, Vec<&'a str>>, order: &mut Vec<&'a str>) {
    if order.contains(&file) {
        return;
    }
    for needed in needs.get(file).into_iter().flatten() {
        visit(needed, needs, order);
    }
    order.push(file);
}

/// Runs a command that has to go well.
fn step(what: &str, command: &mut Command) -> Result<(), String> {
    println!("== {what}");
    match command.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what}: {command:?}: {status}")),
        Err(e) => Err(format!("{what}: {command:?}: {e}")),
    }
}
