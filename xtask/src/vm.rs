//! `cargo xtask vm-test [FILTER…]`: runs tests on Debian's stock kernel with the single tree of control groups
//! (version 2), whatever this host has.
//!
//! The machine is qemu's, in software, so it needs no right but to run it. It sees this host's files, the test programs
//! built here included, and writes to memory and to a disk of its own: nothing it does comes back but what it says.

mod archive;
mod kernel;
mod programs;
mod tally;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use self::kernel::Kernel;
use self::programs::Program;
use self::tally::Tally;

/// What is run of a program unless something else is asked for: what control groups are about. Of a program that is
/// not named all is.
const FILTERS: [(&str, &[&str]); 2] = [
    ("engine_core", &["cgroup", "runtime::linux"]),
    (
        "promise",
        &[
            "control::a_paused_container_holds_still",
            "control::a_stopped_container_has_its_new_limits",
            "control::top",
            "control::update",
            "flags::limits",
            "flags::memory_and_devices",
            "restart::memory_that_ran_out",
            "run::limits_are_enforced",
            "stats::stats_tell",
            "stats::traffic",
        ],
    ),
];
/// How long the machine may take for everything.
const PATIENCE: Duration = Duration::from_secs(900);
/// What the machine needs before it sees this host's files; modules it needs later it loads from there.
const MODULES: [&str; 7] =
    ["virtio_pci", "9pnet_virtio", "9p", "overlay", "virtio_blk", "crc32c_generic", "ext4"];
/// How large its disk seems; the file is as large as what was written.
const DISK: u64 = 16 << 30;

const INIT: &str = include_str!("vm/init.sh");
const GUEST: &str = include_str!("vm/guest.sh");

/// Builds the tests, boots the machine, and says how it went. Filters are libtest's: parts of tests' names.
pub(crate) fn run(filters: &[String]) -> Result<(), String> {
    let kernel = kernel::find()?;
    let programs = programs::build()?;
    let room = Room::new()?;
    disk(&room.path("disk"))?;
    let job = job(&kernel, &programs, filters);
    archive::write(&room.path("initramfs"), &contents(&kernel, &job)?)?;
    let tally = boot(&kernel, &room)?;
    let verdict = verdict(&room, &programs, &tally);
    println!("{tally}");
    verdict
}

/// An empty file system: one in memory lacks what tests of files look at, and some limits are about disks.
fn disk(path: &Path) -> Result<(), String> {
    let file = std::fs::File::create(path).and_then(|file| file.set_len(DISK));
    file.map_err(|e| format!("{}: {e}", path.display()))?;
    let mut command = Command::new("/sbin/mke2fs");
    command.args(["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0"]).arg(path);
    match command.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("mke2fs failed: {status}")),
        Err(e) => Err(format!("mke2fs: {e}")),
    }
}

/// The files that the machine begins with.
fn contents(kernel: &Kernel, job: &str) -> Result<Vec<archive::Entry>, String> {
    use archive::Entry;
    let mut entries: Vec<Entry> =
        ["bin", "dev", "proc", "sys", "modules", "host", "room", "disk", "root"].map(Entry::directory).into();
    entries.push(Entry::file("bin/busybox", read(Path::new("/bin/busybox"))?));
    entries.push(Entry::file("init", INIT));
    entries.push(Entry::file("guest.sh", GUEST));
    entries.push(Entry::file("job.sh", job));
    for (number, module) in kernel.modules(&MODULES)?.iter().enumerate() {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        // A shell's pattern gives them in the order of their names.
        entries.push(Entry::file(&format!("modules/{number:02}-{name}"), read(module)?));
    }
    Ok(entries)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// What the machine does, as a part of `guest.sh`.
fn job(kernel: &Kernel, programs: &[Program], filters: &[String]) -> String {
    let quote = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let mut job = format!("modules={}\n", quote(&kernel.modules_directory().to_string_lossy()));
    job += "job() {\n";
    for program in programs {
        let fixed = [
            &program.directory.to_string_lossy(),
            &*program.path.to_string_lossy(),
            "--show-output",
            "--color=never",
        ];
        let usual =
            FILTERS.iter().find(|(name, _)| *name == program.name).map_or(&[][..], |(_, usual)| usual);
        let filters: Vec<&str> = match filters {
            [] => usual.to_vec(),
            asked => asked.iter().map(String::as_str).collect(),
        };
        let words: Vec<String> = fixed.into_iter().chain(filters).map(quote).collect();
        job += &format!("run {} {}\n", quote(&program.name), words.join(" "));
    }
    job + "}\n"
}

/// Runs the machine to its end, and passes on what it says.
fn boot(kernel: &Kernel, room: &Room) -> Result<Tally, String> {
    println!("== booting {}", kernel.version);
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048"])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .arg("-kernel")
        .arg(kernel.image())
        .arg("-initrd")
        .arg(room.path("initramfs"))
        .args(["-append", "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off no_timer_check"])
        .args(["-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"])
        .args(["-device", "virtio-9p-pci,fsdev=host,mount_tag=host"])
        .arg("-drive")
        .arg(format!("if=virtio,format=raw,cache=unsafe,file={}", room.path("disk").display()))
        .args(["-serial", "stdio", "-serial"])
        .arg(format!("file:{}", room.path("result").display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut machine = Machine(qemu.spawn().map_err(|e| format!("qemu-system-x86_64: {e}"))?);
    let output = machine.0.stdout.take().ok_or("qemu has no output")?;
    let listener = std::thread::spawn(move || listen(BufReader::new(output)));
    machine.wait()?;
    listener.join().map_err(|_| "the thread that reads the machine's output ended".to_owned())
}

fn listen(mut output: impl BufRead) -> Tally {
    let mut tally = Tally::default();
    let mut line = Vec::new();
    // A test may print anything.
    while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        let text = String::from_utf8_lossy(&line);
        print!("{text}");
        tally.note(text.trim_end());
        line.clear();
    }
    tally
}

/// What the machine wrote to its second line, and the counts, decide together: a program may also crash.
fn verdict(room: &Room, programs: &[Program], tally: &Tally) -> Result<(), String> {
    let result = String::from_utf8_lossy(&read(&room.path("result"))?).into_owned();
    let lines: Vec<&str> = result.lines().map(str::trim).collect();
    if lines.last() != Some(&"end") {
        return Err(format!("the machine ended before its tests did, after {lines:?}"));
    }
    for program in programs {
        if !lines.contains(&&*format!("{} 0", program.name)) {
            return Err(format!("{} failed: {lines:?}", program.name));
        }
    }
    if tally.passed() + tally.failed == 0 {
        return Err("no test has such a name".to_owned());
    }
    Ok(())
}

/// A running qemu, killed when it is dropped.
struct Machine(Child);

impl Machine {
    fn wait(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.0.try_wait().map_err(|e| format!("qemu: {e}"))? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("qemu failed: {status}")),
                None if Instant::now() > deadline => {
                    return Err(format!("the machine was not done within {} s", PATIENCE.as_secs()));
                }
                None => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory for one run, removed in the end.
struct Room(PathBuf);

impl Room {
    fn new() -> Result<Room, String> {
        let path = std::env::temp_dir().join(format!("engine-vm-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Room(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
