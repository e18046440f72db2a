//! Files of containers: copied in and out, compared with the image, committed, exported.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::images::Docker;
use crate::support::{Sandbox, eventually, run, with_input};

/// A folder on the host with a file, a folder and links.
fn source(sandbox: &Sandbox) -> PathBuf {
    let dir = sandbox.dir().join("host");
    std::fs::create_dir_all(dir.join("s/d")).expect("a directory");
    std::fs::write(dir.join("s/f"), "hi\n").expect("writes");
    symlink("/etc/passwd", dir.join("s/abs")).expect("a link");
    symlink("../../../up", dir.join("s/up")).expect("a link");
    std::fs::hard_link(dir.join("s/f"), dir.join("s/d/hard")).expect("a link");
    dir
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path")
}

/// `cp` in the host's folder.
fn cp(sandbox: &Sandbox, dir: &Path, args: &[&str]) -> crate::support::Ran {
    let script = "cd \"$1\" && shift && exec \"$@\"";
    let engine = env!("CARGO_BIN_EXE_engine");
    sandbox.host(&[&["sh", "-c", script, "sh", text(dir), engine, "cp"], args].concat())
}

/// Runs `check` on a container that was never started, on one that runs, and on one that has ended.
fn in_every_state(name: &str, check: impl Fn(&Sandbox, &str)) {
    let sandbox = Sandbox::new(name);
    sandbox.busybox();
    sandbox.engine(&["create", "--name", "made", "busybox", "true"]).ok();
    check(&sandbox, "made");
    sandbox.engine(&["run", "-d", "--name", "runs", "busybox", "sleep", "1000"]).ok();
    check(&sandbox, "runs");
    sandbox.engine(&["run", "--name", "ended", "busybox", "true"]).ok();
    check(&sandbox, "ended");
}

#[test]
fn cp_follows_docker_s_table_of_sources_and_destinations() {
    in_every_state("cp-table", |sandbox, c| {
        let dir = source(sandbox);
        let at = |path: &str| format!("{c}:{path}");
        let good = |args: &[&str]| cp(sandbox, &dir, args).ok().to_owned();
        let list = |path: &str| {
            let tar = cp(sandbox, &dir, &[&at(path), "-"]);
            assert_eq!(tar.code, 0, "{}", tar.stderr);
            let listed = with_input(Command::new("tar").arg("t"), tar.stdout.as_bytes());
            let mut names: Vec<String> = listed.stdout.lines().map(str::to_owned).collect();
            names.sort();
            names.join(" ")
        };
        let bad = |args: &[&str], words: &str| cp(sandbox, &dir, args).fails(1, [words]);
        // A file: into a directory, under a new name, over a file.
        good(&["s/f", &at("/tmp")]);
        good(&["s/f", &at("/tmp/plain")]);
        good(&["s/f", &at("tmp/plain")]);
        assert_eq!(list("/tmp"), "tmp/ tmp/f tmp/plain");
        bad(&["s/f", &at("/tmp/new/")], "no such directory");
        bad(&["s/f", &at("/nope/x")], &format!("Could not find the file /nope in container {c}"));
        bad(&["s/f", &at("/etc/passwd/x")], "extraction point is not a directory");
        bad(&["s/nope", &at("/tmp")], "s/nope");
        bad(&["s/f/", &at("/tmp")], "not a directory");
        // A directory: as a new one, into one, its content, never over a file.
        good(&["s", &at("/tmp/t")]);
        assert_eq!(list("/tmp/t"), "t/ t/abs t/d/ t/d/hard t/f t/up");
        good(&["s", &at("/tmp/t")]);
        assert_eq!(list("/tmp/t/s/d"), "d/ d/hard");
        good(&["s/.", &at("/tmp/u")]);
        good(&["s/.", &at("/tmp/u")]);
        assert_eq!(list("/tmp/u/."), "./ ./abs ./d/ ./d/hard ./f ./up");
        good(&["s/", &at("/tmp/v/")]);
        assert_eq!(list("/tmp/v/"), "v/ v/abs v/d/ v/d/hard v/f v/up");
        bad(&["s", &at("/tmp/plain")], "cannot copy directory");
        // What is one is not replaced by the other.
        std::fs::create_dir_all(dir.join("w/f")).expect("a directory");
        std::fs::write(dir.join("w/d"), "file").expect("writes");
        bad(&["w/f", &at("/tmp/t")], "cannot overwrite non-directory \"/tmp/t/f\" with directory \"/tmp/t\"");
        bad(&["w/d", &at("/tmp/t")], "cannot overwrite directory \"/tmp/t/d\" with non-directory \"/tmp/t\"");
        // Out: the same rules the other way round.
        good(&[&at("/tmp/plain"), "out"]);
        assert_eq!(std::fs::read_to_string(dir.join("out")).expect("is there"), "hi\n");
        good(&[&at("/tmp/t"), "o1"]);
        good(&[&at("/tmp/t/."), "o2"]);
        good(&[&at("/tmp/u"), "o1"]);
        assert!(dir.join("o1/d/hard").exists() && dir.join("o2/f").exists() && dir.join("o1/u/f").exists());
        let inode = |name: &str| std::fs::metadata(dir.join("o1").join(name)).expect("is there").ino();
        assert_eq!(inode("f"), inode("d/hard"), "a hard link is one again");
        assert_eq!(std::fs::read_link(dir.join("o1/up")).expect("a link"), Path::new("../../../up"));
        bad(&[&at("/tmp/t"), "out"], "cannot copy directory");
        bad(&[&at("/tmp/plain"), "new/"], "no such directory");
        bad(&[&at("/tmp/plain"), "no/such"], "does not exist");
        bad(&[&at("/tmp/plain/"), "x"], "not a directory");
        bad(&[&at("/nope"), "x"], &format!("Could not find the file /nope in container {c}"));
        bad(&[&at("/tmp/plain"), "/dev/null"], "must be a directory or a regular file: got a device");
        // A link is copied as one, or followed.
        good(&[&at("/tmp/t/abs"), "o4"]);
        assert_eq!(std::fs::read_link(dir.join("o4")).expect("a link"), Path::new("/etc/passwd"));
        good(&["-L", &at("/tmp/t/abs"), "o5"]);
        assert!(std::fs::read_to_string(dir.join("o5")).expect("a file").contains("mail:x:8"));
        good(&["-L", "s/abs", &at("/tmp/followed")]);
        let host = std::fs::read_to_string("/etc/passwd").expect("is there");
        assert!(
            cp(sandbox, &dir, &[&at("/tmp/followed"), "-"])
                .ok()
                .contains(host.lines().next().expect("a line"))
        );
        for name in ["out", "o1", "o2", "o4", "o5", "w", "s"] {
            run(Command::new("rm").arg("-r").arg(dir.join(name)));
        }
    });
}

#[test]
fn cp_refuses_what_docker_refuses_and_tells_only_who_looks() {
    let sandbox = Sandbox::new("cp-words");
    sandbox.busybox();
    sandbox.engine(&["create", "--name", "cc", "busybox", "true"]).ok();
    let dir = source(&sandbox);
    let bad = |args: &[&str], words: &str| cp(&sandbox, &dir, args).fails(1, [words]);
    bad(&["cc:/a", "cc:/b"], "copying between containers is not supported");
    bad(&["a", "b"], "must specify at least one container source");
    bad(&["", "cc:/x"], "source can not be empty");
    bad(&["s/f", ""], "destination can not be empty");
    bad(&["nosuch:/x", "."], "nosuch");
    bad(&["-", "cc:/etc/passwd"], "destination \"cc:/etc/passwd\" must be a directory");
    bad(&["cc:", "x"], "cannot be empty");
    let said = cp(&sandbox, &dir, &["s/f", "cc:/tmp/f"]);
    assert_eq!((said.ok(), said.stderr.as_str()), ("", ""));
    let said = cp(&sandbox, &dir, &["-q=false", "s/f", "cc:/tmp/f"]);
    assert_eq!(said.stderr, "Successfully copied 2.05kB to cc:/tmp/f\n", "{}", said.ok());
    let said = cp(&sandbox, &dir, &["--quiet=false", "cc:/tmp/f", "got"]);
    assert_eq!(said.stderr, format!("Successfully copied 2.05kB to {}/got\n", dir.display()));
    let said = cp(&sandbox, &dir, &["-q", "cc:/tmp/f", "got"]);
    assert_eq!((said.ok(), said.stderr.as_str()), ("", ""));
}

#[test]
fn cp_gives_files_to_whom_docker_gives_them() {
    let sandbox = Sandbox::new("cp-owner");
    sandbox.busybox();
    let dir = source(&sandbox);
    run(Command::new("chown").args(["1234:1235", text(&dir.join("s/f"))]));
    run(Command::new("chmod").args(["4755", text(&dir.join("s/f"))]));
    sandbox.engine(&["run", "-d", "--name", "cc", "-u", "mail", "busybox", "sleep", "1000"]).ok();
    let owner = |path: &str| {
        sandbox.engine(&["exec", "-u", "0", "cc", "stat", "-c", "%u:%g %a", path]).ok().to_owned()
    };
    cp(&sandbox, &dir, &["s/f", "cc:/tmp/plain"]).ok();
    assert_eq!(owner("/tmp/plain"), "1234:1235 4755");
    cp(&sandbox, &dir, &["-a", "s/f", "cc:/tmp/archived"]).ok();
    assert_eq!(owner("/tmp/archived"), "8:8 4755");
    cp(&sandbox, &dir, &["cc:/tmp/plain", "mine"]).ok();
    cp(&sandbox, &dir, &["-a", "cc:/tmp/plain", "theirs"]).ok();
    let found = |name: &str| {
        let found = std::fs::metadata(dir.join(name)).expect("is there");
        (found.uid(), found.gid(), found.permissions().mode() & 0o7777)
    };
    assert_eq!(found("mine"), (0, 0, 0o755), "a program of the container is not root's on the host");
    assert_eq!(found("theirs"), (1234, 1235, 0o4755));
}

#[test]
fn everything_that_belongs_to_a_file_goes_both_ways() {
    in_every_state("cp-whole", |sandbox, c| {
        let dir = source(sandbox);
        let long = "n".repeat(200);
        let deep = dir.join("s/d").join(&long).join(&long);
        std::fs::create_dir_all(&deep).expect("a directory");
        std::fs::write(deep.join(&long), "deep").expect("writes");
        let sparse = std::fs::File::create(dir.join("s/sparse")).expect("a file");
        sparse.set_len(1 << 36).expect("a size");
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", (1 << 36) - 3).expect("writes");
        run(Command::new("mkfifo").arg(dir.join("s/fifo")));
        run(Command::new("touch").args(["-d", "2001-02-03 04:05:06"]).arg(dir.join("s/f")));
        let setfattr = "import os,sys; os.setxattr(sys.argv[1], 'user.note', b'v')";
        run(Command::new("python3").args(["-c", setfattr]).arg(dir.join("s/f")));
        cp(sandbox, &dir, &["s", &format!("{c}:/var/s")]).ok();
        cp(sandbox, &dir, &[&format!("{c}:/var/s"), "back"]).ok();
        let compare = "diff -r --no-dereference --exclude=fifo --exclude=sparse s back && test -p back/fifo && getfattr -n user.note --only-values back/f 2>/dev/null || python3 -c \"import os; print(os.getxattr('back/f','user.note').decode())\"";
        let same = run(Command::new("sh").arg("-ec").arg(compare).current_dir(&dir));
        assert!(same.contains('v'), "{same}");
        let found = std::fs::metadata(dir.join("back/sparse")).expect("is there");
        assert_eq!(found.len(), 1 << 36);
        assert!(found.blocks() < 2048, "its holes were written");
        assert_eq!(std::fs::metadata(dir.join("back/f")).expect("is there").mtime(), 981_173_106);
        run(Command::new("rm").arg("-r").arg(dir.join("back")));
        run(Command::new("rm").arg("-r").arg(dir.join("s")));
    });
}

#[test]
fn cp_sees_volumes_and_refuses_what_is_read_only() {
    let sandbox = Sandbox::new("cp-volumes");
    sandbox.busybox();
    let dir = source(&sandbox);
    let bound = format!("{}:/b/inner", text(&dir.join("s/d")));
    let flags = ["-v", "vol:/b", "-v", &bound, "-v", "vol:/ro:ro"];
    sandbox.engine(&[&["create", "--name", "made"][..], &flags, &["busybox", "true"]].concat()).ok();
    sandbox
        .engine(&[&["run", "-d", "--name", "runs"][..], &flags, &["busybox", "sleep", "1000"]].concat())
        .ok();
    let read_only = ["--read-only", "-v", "vol:/v"];
    sandbox.engine(&[&["create", "--name", "tight"][..], &read_only, &["busybox", "true"]].concat()).ok();
    sandbox
        .engine(
            &[&["run", "-d", "--name", "tightruns"][..], &read_only, &["busybox", "sleep", "1000"]].concat(),
        )
        .ok();
    for c in ["made", "runs"] {
        cp(&sandbox, &dir, &["s/f", &format!("{c}:/b/{c}")]).ok();
        cp(&sandbox, &dir, &["s/f", &format!("{c}:/b/inner/{c}")]).ok();
        assert!(dir.join("s/d").join(c).exists(), "the longest target wins");
        cp(&sandbox, &dir, &[&format!("{c}:/ro/{c}"), "got"]).ok();
        cp(&sandbox, &dir, &["s/f", &format!("{c}:/ro/x")]).fails(1, ["mounted volume is marked read-only"]);
        cp(&sandbox, &dir, &[&format!("{c}:/b"), "whole"]).ok();
        assert!(dir.join("whole/inner/hard").exists(), "what is mounted in it belongs to it");
        run(Command::new("rm").arg("-r").arg(dir.join("whole")));
    }
    for c in ["tight", "tightruns"] {
        cp(&sandbox, &dir, &["s/f", &format!("{c}:/x")]).fails(1, ["container rootfs is marked read-only"]);
        cp(&sandbox, &dir, &["s/f", &format!("{c}:/v/{c}")]).ok();
    }
    let volume = sandbox.root().join("volumes/vol/_data");
    for name in ["made", "runs", "tight", "tightruns"] {
        assert!(volume.join(name).exists(), "{name}");
    }
    sandbox.engine(&["start", "made"]).ok();
}

#[test]
fn no_link_of_a_container_leads_out_of_it() {
    let sandbox = Sandbox::new("cp-links");
    sandbox.busybox();
    let dir = source(&sandbox);
    std::fs::write(dir.join("secret"), "of the host").expect("writes");
    let secret = text(&dir.join("secret")).to_owned();
    let script = format!(
        "ln -s / /top; ln -s ../../../../../../../../ /above; ln -s {secret} /secret; ln -s /proc/self/root /procroot;
         ln -s /proc/1/root /oneroot; ln -s /dev/fd /fds; mkdir -p /d; mkfifo /d/fifo; echo x > /d/f; ln -s {} /escape",
        dir.display()
    );
    for (c, then) in [("ended", "true"), ("runs", "sleep 1000")] {
        let command = format!("{script}; {then}");
        let detach: &[&str] = if c == "runs" { &["-d"] } else { &[] };
        sandbox
            .engine(&[&["run"][..], detach, &["--name", c, "busybox", "sh", "-c", &command]].concat())
            .ok();
        eventually(5, "it has made its links", || {
            cp(&sandbox, &dir, &[&format!("{c}:/escape"), "-"]).code == 0
        });
        let at = |path: &str| format!("{c}:{path}");
        for path in ["/top", "/above", "/procroot", "/oneroot", "/fds"] {
            // Each is either the container's own, or nothing.
            let got = cp(&sandbox, &dir, &["-L", &at(&format!("{path}{secret}")), "-"]);
            assert_ne!(got.code, 0, "{path}: {}", got.stdout);
            let put = cp(&sandbox, &dir, &["s/f", &at(&format!("{path}{}/put", dir.display()))]);
            assert_ne!(put.code, 0, "{path}: {}", put.stdout);
        }
        assert_ne!(cp(&sandbox, &dir, &["-L", &at("/secret"), "-"]).code, 0);
        assert_ne!(cp(&sandbox, &dir, &["s/f", &at("/escape/put")]).code, 0);
        cp(&sandbox, &dir, &["s/f", &at("/above/put")]).ok();
        cp(&sandbox, &dir, &["s/f", &at("/top/put2")]).ok();
        assert!(!Path::new("/put").exists() && !Path::new("/put2").exists());
        // A pipe is copied, and not waited for; and in its place a file is made.
        let copied = cp(&sandbox, &dir, &[&at("/d"), "d"]);
        copied.ok();
        cp(&sandbox, &dir, &["s/f", &at("/d/fifo")]).fails(1, ["got a named pipe"]);
        run(Command::new("rm").arg("-r").arg(dir.join("d")));
        assert!(!dir.join("put").exists());
    }
}

/// The bytes of a tar archive made by a script of Python's tarfile, with `add(name, type, link, data)`.
fn tar(script: &str) -> Vec<u8> {
    let whole = format!(
        "import io,sys,tarfile\nout=io.BytesIO()\nt=tarfile.open(fileobj=out,mode='w')\ndef add(name,kind=tarfile.REGTYPE,link='',data=b'',**more):\n  i=tarfile.TarInfo(name); i.type=kind; i.linkname=link; i.size=len(data)\n  for k,v in more.items(): setattr(i,k,v)\n  t.addfile(i,io.BytesIO(data))\n{script}\nt.close()\nsys.stdout.buffer.write(out.getvalue())"
    );
    let output = Command::new("python3").args(["-c", &whole]).output().expect("python is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn a_hostile_archive_writes_nothing_outside() {
    in_every_state("cp-hostile", |sandbox, c| {
        let at = format!("{c}:/tmp");
        let put = |script: &str| sandbox.engine_with_input(&["cp", "-", &at], &tar(script));
        put("add('../out', data=b'x')").fails(1, ["out"]);
        put("add('/../../out', data=b'x')").fails(1, ["out"]);
        put("add('a/../../out', data=b'x')").fails(1, ["out"]);
        put("add('hard', tarfile.LNKTYPE, '../etc/passwd')").fails(1, ["hard"]);
        put("add('hard', tarfile.LNKTYPE, '/etc/passwd')").fails(1, ["hard"]);
        // Through a link of its own: inside the container, and nowhere else.
        let escape = sandbox.dir().join("escape");
        put(&format!("add('l', tarfile.SYMTYPE, '{}')\nadd('l/x', data=b'x')", escape.display())).ok();
        assert!(!escape.exists());
        put("add('m', tarfile.SYMTYPE, '../../../../../..')\nadd('m/engine-escaped', data=b'x')").ok();
        assert!(!Path::new("/engine-escaped").exists());
        assert!(
            sandbox.engine(&["cp", &format!("{c}:/engine-escaped"), "-"]).ok().contains("engine-escaped")
        );
        // A device is what the container could make itself; one that stands for a whiteout is not.
        put("add('null', tarfile.CHRTYPE, devmajor=1, devminor=3)").ok();
        put("t.fileobj.write(b'no archive at all' * 100)").fails(1, ["archive"]);
        sandbox
            .engine_with_input(&["cp", "-", &at], &tar("add('x', data=b'y' * 10000)")[..2000])
            .fails(1, ["archive"]);
        let mut gzip = Command::new("gzip");
        let squeezed = gzip.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn();
        let mut squeezed = squeezed.expect("starts");
        std::io::Write::write_all(
            &mut squeezed.stdin.take().expect("a pipe"),
            &tar("add('squeezed', data=b'z')"),
        )
        .expect("writes");
        let squeezed = squeezed.wait_with_output().expect("ends").stdout;
        sandbox.engine_with_input(&["cp", "-", &at], &squeezed).ok();
        sandbox.engine(&["cp", &format!("{c}:/tmp/squeezed"), "-"]).ok();
    });
    let sandbox = Sandbox::new("cp-devices");
    sandbox.busybox();
    sandbox.engine(&["create", "--name", "cc", "--cap-drop", "MKNOD", "busybox", "true"]).ok();
    sandbox
        .engine_with_input(
            &["cp", "-", "cc:/tmp"],
            &tar("add('disk', tarfile.BLKTYPE, devmajor=8, devminor=0)"),
        )
        .fails(1, ["disk", "device"]);
    sandbox.engine(&["create", "--name", "dd", "busybox", "true"]).ok();
    sandbox
        .engine_with_input(
            &["cp", "-", "dd:/tmp"],
            &tar("add('disk', tarfile.BLKTYPE, devmajor=8, devminor=0)"),
        )
        .ok();
    let out = sandbox.dir().join("disk");
    sandbox.engine(&["cp", "dd:/tmp/disk", text(&out)]).fails(1, ["device"]);
    assert!(!out.exists(), "a disk of the host in a container's file");
}

/// A program that exchanges a directory and a symbolic link to the host's folder, all the time.
const EXCHANGE: &str = r#"
import ctypes, os, sys
libc = ctypes.CDLL(None)
a, b = b'/w/dir', b'/w/link'
while True:
    libc.syscall(316, -100, a, -100, b, 2)
"#;

#[test]
fn a_container_that_exchanges_directories_and_links_gets_and_gives_nothing_of_the_host() {
    let sandbox = Sandbox::new("cp-race");
    sandbox.busybox();
    let dir = source(&sandbox);
    let trap = sandbox.dir().join("trap");
    std::fs::create_dir_all(trap.join("sub")).expect("a directory");
    std::fs::write(trap.join("sub/secret"), "of the host").expect("writes");
    // On a volume, so that the host can exchange too: as a process of the container would, at the same time.
    sandbox.engine(&["run", "-d", "--name", "cc", "-v", "race:/w", "busybox", "sleep", "1000"]).ok();
    let volume = sandbox.root().join("volumes/race/_data");
    std::fs::create_dir_all(volume.join("dir/sub")).expect("a directory");
    std::fs::write(volume.join("dir/sub/own"), "own").expect("writes");
    symlink(&trap, volume.join("link")).expect("a link");
    let script = EXCHANGE.replace("/w/", &format!("{}/", volume.display()));
    let mut exchanging = Command::new("python3").args(["-c", &script]).spawn().expect("starts");
    let end = std::time::Instant::now() + std::time::Duration::from_secs(4);
    let (mut got, mut put) = (0, 0);
    while std::time::Instant::now() < end {
        let out = cp(&sandbox, &dir, &["cc:/w/dir/sub", "-"]);
        assert!(!out.stdout.contains("of the host"), "it read the host's files");
        got += i32::from(out.code == 0);
        put += i32::from(cp(&sandbox, &dir, &["s", "cc:/w/dir/sub"]).code == 0);
        let out = cp(&sandbox, &dir, &["-L", "cc:/w", "-"]);
        assert!(!out.stdout.contains("of the host"), "it read the host's files");
        cp(&sandbox, &dir, &["cc:/w/dir", "out"]);
        let _ = std::fs::remove_dir_all(dir.join("out"));
    }
    exchanging.kill().expect("kills");
    exchanging.wait().expect("ends");
    let names: Vec<_> = std::fs::read_dir(trap.join("sub")).expect("reads").flatten().collect();
    assert_eq!(names.len(), 1, "something was written on the host");
    assert!(got > 0 && put > 0, "nothing was tried: {got} {put}");
}

#[test]
fn a_file_that_grows_is_copied_and_ends() {
    let sandbox = Sandbox::new("cp-grows");
    sandbox.busybox();
    let script =
        "while :; do head -c 1000000 /dev/zero >> /f; [ $(stat -c %s /f) -gt 50000000 ] && : > /f; done";
    sandbox.engine(&["run", "-d", "--name", "cc", "busybox", "sh", "-c", script]).ok();
    eventually(5, "it has begun", || sandbox.engine(&["cp", "cc:/f", "-"]).code == 0);
    for n in 0..10 {
        let to = sandbox.dir().join(format!("f{n}"));
        sandbox.engine(&["cp", "cc:/f", text(&to)]).ok();
        assert!(to.exists());
    }
    // Of what the kernel tells in files without a size, nothing; and it does not block.
    sandbox.engine(&["cp", "cc:/proc/kmsg", "-"]).ok();
}

#[test]
fn diff_tells_what_the_container_wrote_and_nothing_else() {
    let sandbox = Sandbox::new("diff");
    sandbox.busybox();
    sandbox.engine(&["create", "--name", "idle", "busybox", "true"]).ok();
    assert_eq!(sandbox.engine(&["diff", "idle"]).ok(), "");
    sandbox.engine(&["run", "--name", "quiet", "busybox", "cat", "/etc/passwd"]).ok();
    assert_eq!(sandbox.engine(&["diff", "quiet"]).ok(), "", "what the engine mounts on is no change");
    let script = "echo x >> /etc/group; chmod 600 /etc/passwd; rm /bin/vi; mkdir -p /new/dir; echo y > /new/dir/f;
        rm -r /var; mkdir /var; touch /var/x; rm -r /root; echo z > /root; touch -r /bin/busybox /tmp; ln -s x /tmp/l";
    sandbox.engine(&["run", "--name", "cc", "busybox", "sh", "-c", script]).ok();
    let wanted = "C /bin\nD /bin/vi\nC /etc\nC /etc/group\nC /etc/passwd\nA /new\nA /new/dir\nA /new/dir/f\nC /root\nC /tmp\nA /tmp/l\nC /var\nA /var/x";
    assert_eq!(sandbox.engine(&["diff", "cc"]).ok(), wanted);
    assert_eq!(sandbox.engine(&["container", "diff", "cc"]).ok(), wanted);
    sandbox.engine(&["diff", "nosuch"]).fails(1, ["nosuch"]);
    let script = "touch /made; sleep 1000";
    sandbox.engine(&["run", "-d", "--name", "runs", "busybox", "sh", "-c", script]).ok();
    eventually(5, "the running one too", || sandbox.engine(&["diff", "runs"]).ok() == "A /made");
    let root = sandbox.dir().join("root");
    std::fs::create_dir(&root).expect("a directory");
    run(Command::new("tar").arg("-C").arg(&root).arg("-xf").arg(crate::support::fixture::busybox_tar()));
    let overlaid = format!("{}:O", root.display());
    sandbox.engine(&["run", "--name", "oo", "--rootfs", &overlaid, "rm", "/etc/group"]).ok();
    assert_eq!(sandbox.engine(&["diff", "oo"]).ok(), "C /etc\nD /etc/group");
}

#[test]
fn a_committed_image_runs_is_saved_and_loads_into_docker() {
    let sandbox = Sandbox::new("commit");
    sandbox.busybox();
    let script = "echo new > /etc/new; rm /bin/vi; rm -r /var; mkdir /var; echo v > /var/v; chmod 1770 /tmp";
    sandbox
        .engine(&[
            "run", "--name", "cc", "-e", "A=1", "-l", "l=v", "-w", "/root", "busybox", "sh", "-c", script,
        ])
        .ok();
    let args =
        ["commit", "-a", "Me <me@example.com>", "-m", "a message", "-c", "CMD [\"cat\", \"/etc/new\"]"];
    let id = sandbox.engine(&[&args[..], &["--change", "ENV B=2", "cc", "mine:1"]].concat()).ok().to_owned();
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(sandbox.engine(&["run", "--rm", "mine:1"]).ok(), "new");
    let check = "test ! -e /bin/vi && ls /var && stat -c %a /tmp && pwd && echo $A$B && ls /etc";
    let ran = sandbox.engine(&["run", "--rm", "mine:1", "sh", "-c", check]);
    assert_eq!(ran.ok(), "v\n1770\n/root\n12\ngroup\nhostname\nhosts\nnew\npasswd\nresolv.conf");
    let shown = |format: &str| sandbox.engine(&["inspect", "-f", format, "mine:1"]).ok().to_owned();
    assert_eq!(shown("{{.Author}} {{.Config.Labels.l}} {{len .RootFS.Layers}}"), "Me <me@example.com> v 2");
    let history =
        sandbox.engine(&["history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Comment}}", "mine:1"]);
    assert_eq!(history.ok().lines().next(), Some(format!("sh -c {script}|a message").as_str()));
    // Nothing written, nothing added.
    sandbox.engine(&["run", "--name", "quiet", "busybox", "true"]).ok();
    sandbox.engine(&["commit", "quiet", "same"]).ok();
    assert_eq!(sandbox.engine(&["inspect", "-f", "{{len .RootFS.Layers}}", "same"]).ok(), "1");
    // A running one, paused or not, and without a name.
    sandbox.engine(&["run", "-d", "--name", "runs", "busybox", "sh", "-c", "echo r > /r; sleep 1000"]).ok();
    eventually(5, "it has written", || sandbox.engine(&["diff", "runs"]).ok() == "A /r");
    for pause in ["-p=true", "--pause=false"] {
        let id = sandbox.engine(&["commit", pause, "runs"]).ok().to_owned();
        assert_eq!(sandbox.engine(&["run", "--rm", &id, "cat", "/r"]).ok(), "r");
    }
    assert_eq!(sandbox.engine(&["inspect", "-f", "{{.State.Status}}", "runs"]).ok(), "running");
    sandbox.engine(&["commit", "-c", "RUN x", "runs"]).fails(1, ["RUN"]);
    sandbox.engine(&["commit", "runs", "UPPER"]).fails(1, ["UPPER"]);

    let saved = sandbox.dir().join("saved.tar");
    sandbox.engine(&["save", "-o", text(&saved), "mine:1"]).ok();
    let copied = format!("oci:{}:mine", sandbox.dir().join("layout").display());
    let archive = format!("docker-archive:{}", saved.display());
    sandbox.host(&["skopeo", "--insecure-policy", "copy", &archive, &copied]).ok();
    let docker = Docker::start(&sandbox);
    docker.run(&["load", "-i", text(&saved)]);
    docker.run(&["create", "--name", "dd", "mine:1"]);
    let out = sandbox.dir().join("out.tar");
    docker.run(&["export", "-o", text(&out), "dd"]);
    let listed = run(Command::new("tar").arg("tf").arg(&out));
    let has = |name: &str| listed.lines().any(|line| line == name);
    assert!(has("etc/new") && has("var/v") && !has("bin/vi") && has("bin/sh"), "{listed}");
    docker.run(&["rm", "dd"]);
    // And back: what was loaded is the same image.
    sandbox.engine(&["rmi", "-f", "mine:1"]).ok();
    sandbox.engine(&["load", "-i", text(&saved)]).ok();
    assert_eq!(sandbox.engine(&["run", "--rm", "mine:1"]).ok(), "new");
}

#[test]
fn a_commit_that_is_killed_anywhere_leaves_nothing() {
    let sandbox = Sandbox::new("crash-commit");
    sandbox.busybox();
    sandbox.engine(&["run", "-d", "--name", "cc", "busybox", "sh", "-c", "echo x > /x; sleep 1000"]).ok();
    eventually(5, "it has written", || sandbox.engine(&["diff", "cc"]).ok() == "A /x");
    for point in ["capture.copied", "commit.packed", "blob.written", "capture.placed", "commit.layer-done"] {
        sandbox.engine_dies_at(point, &["commit", "cc", "mine"]);
        assert_eq!(sandbox.engine(&["images", "--format", "{{.Repository}}"]).ok(), "busybox", "{point}");
        sandbox.engine(&["commit", "cc", "mine"]).ok();
        assert_eq!(sandbox.engine(&["run", "--rm", "mine", "cat", "/x"]).ok(), "x", "{point}");
        sandbox.engine(&["rmi", "mine"]).ok();
        sandbox.engine_dies_at(point, &["commit", "cc", "mine"]);
        sandbox.engine(&["system", "prune", "-f"]).ok();
        let layers = std::fs::read_dir(sandbox.root().join("layers")).expect("reads").flatten();
        let layers: Vec<_> = layers.map(|entry| entry.file_name()).filter(|name| name.len() > 20).collect();
        assert_eq!(layers.len(), 1, "{point}: {layers:?}");
    }
}

#[test]
fn export_gives_the_files_without_volumes_and_import_takes_them() {
    let sandbox = Sandbox::new("export");
    sandbox.busybox();
    let run_it = ["run", "-d", "--name", "cc", "-v", "vol:/vol", "busybox", "sh", "-c"];
    let script = "echo e > /etc/e; echo v > /vol/v; rm /bin/vi; touch /done; sleep 1000";
    sandbox.engine(&[&run_it[..], &[script]].concat()).ok();
    eventually(5, "it has written", || sandbox.engine(&["cp", "cc:/done", "-"]).code == 0);
    for stop in [false, true] {
        if stop {
            sandbox.engine(&["kill", "cc"]).ok();
            sandbox.engine(&["wait", "cc"]).ok();
        }
        let tar = sandbox.dir().join("flat.tar");
        sandbox.engine(&["export", "-o", text(&tar), "cc"]).ok();
        let piped = sandbox.engine_command(&["export", "cc"]).output().expect("runs");
        assert_eq!(piped.stdout, std::fs::read(&tar).expect("reads"), "the same files, the same archive");
        let listed = run(Command::new("tar").arg("tf").arg(&tar));
        let has = |name: &str| listed.lines().any(|line| line == name);
        assert!(has("etc/e") && has("bin/sh") && has("vol/") && !has("vol/v") && !has("bin/vi"), "{listed}");
        sandbox.engine(&["import", text(&tar), "flat"]).ok();
        assert_eq!(sandbox.engine(&["run", "--rm", "flat", "/bin/cat", "/etc/e"]).ok(), "e");
        std::fs::remove_file(&tar).expect("removes");
    }
    let terminal = format!("{} export cc", env!("CARGO_BIN_EXE_engine"));
    let asked = sandbox.host(&["script", "-qec", &terminal, "/dev/null"]);
    assert!(asked.code == 1 && asked.stdout.contains("cowardly refusing to save to a terminal"), "{asked:?}");
    sandbox.engine(&["export", "nosuch"]).fails(1, ["nosuch"]);
}

#[test]
fn a_committed_image_has_the_check_of_its_container() {
    let sandbox = Sandbox::new("committed");
    sandbox.busybox();
    let check = ["--health-cmd", "true", "--health-retries", "7"];
    let words = ["create", "--name", "checker"].iter().chain(&check).chain(&["busybox", "true"]);
    sandbox.engine(&words.copied().collect::<Vec<_>>()).ok();
    sandbox.engine(&["commit", "-c", "LABEL a=b", "checker", "checked"]).ok();
    let shown = sandbox.engine(&["image", "inspect", "-f", "{{json .Config.Healthcheck}}", "checked"]);
    assert_eq!(shown.ok(), r#"{"Retries":7,"Test":["CMD-SHELL","true"]}"#);
    sandbox.engine(&["create", "--name", "plain", "busybox", "true"]).ok();
    sandbox.engine(&["commit", "plain", "unchecked"]).ok();
    let shown = sandbox.engine(&["image", "inspect", "-f", "{{json .Config}}", "unchecked"]);
    assert!(!shown.ok().contains("Healthcheck"), "{shown:?}");
}
