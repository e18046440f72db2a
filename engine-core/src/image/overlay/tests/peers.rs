//! The same archives, unpacked here and by GNU tar.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use super::Fixture;

/// A tree with everything that a layer may hold.
fn make_tree(top: &Path) {
    let path = |name: &str| top.join(name);
    std::fs::create_dir_all(path("usr/share/deep/er")).expect("makes it");
    std::fs::create_dir_all(path("n".repeat(120).as_str()).join("m".repeat(120))).expect("makes it");
    std::fs::write(path(&"n".repeat(120)).join("m".repeat(120)).join("o".repeat(200)), "long")
        .expect("writes");
    for n in 0..200 {
        let content = format!("file {n}\n").repeat(n * 37);
        std::fs::write(path(&format!("usr/share/f{n}")), content).expect("writes");
    }
    std::fs::write(path("usr/share/exactly"), vec![7; 1024]).expect("writes");
    std::fs::write(path("empty"), "").expect("writes");
    std::fs::write(top.join(std::ffi::OsStr::from_bytes(b"not\xffutf8 \n")), "x").expect("writes");
    std::fs::write(path("setuid"), "x").expect("writes");
    std::fs::set_permissions(path("setuid"), std::fs::Permissions::from_mode(0o6755)).expect("sets it");
    std::os::unix::fs::chown(path("usr/share/f1"), Some(1234), Some(2345)).expect("sets it");
    std::fs::set_permissions(path("usr/share"), std::fs::Permissions::from_mode(0o1777)).expect("sets it");
    symlink("usr/share/f1", path("link")).expect("links");
    symlink("x".repeat(180), path("long-link")).expect("links");
    std::fs::hard_link(path("usr/share/f5"), path("hard")).expect("links");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o640),
        0,
    )
    .expect("makes it");
    rustix::fs::setxattr(path("setuid"), "user.note", b"binary\0\n=", rustix::fs::XattrFlags::empty())
        .expect("sets it");
    let sparse = std::fs::File::create(path("sparse")).expect("makes it");
    for n in 0..40u64 {
        std::os::unix::fs::FileExt::write_all_at(&sparse, &[n as u8 + 1; 4096], n * (1 << 20) + 8192)
            .expect("writes");
    }
    sparse.set_len(64 << 20).expect("sets it");
    let status =
        Command::new("touch").args(["-d", "2001-02-03 04:05:06.789012345 UTC"]).arg(path("usr")).status();
    assert!(status.expect("runs").success());
}

/// Everything about a tree that an archive can hold.
fn describe(top: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for line in super::listing(top) {
        lines.push(line);
    }
    fn walk(top: &Path, at: &Path, lines: &mut Vec<String>) {
        let mut entries: Vec<_> =
            std::fs::read_dir(at).expect("reads").map(|e| e.expect("reads").path()).collect();
        entries.sort();
        for path in entries {
            let stat = path.symlink_metadata().expect("stats");
            let content = if stat.is_file() {
                crate::id::Digest::of(&std::fs::read(&path).expect("reads")).to_string()
            } else if stat.is_symlink() {
                std::fs::read_link(&path).expect("reads").display().to_string()
            } else {
                String::new()
            };
            let mut note = [0; 64];
            let note = rustix::fs::lgetxattr(&path, "user.note", &mut note[..]).map_or(0, |length| length);
            let name = path.strip_prefix(top).expect("beneath").display().to_string();
            let links = if stat.is_dir() { 0 } else { stat.nlink() };
            let time = (stat.mtime(), stat.mtime_nsec());
            lines.push(format!(
                "{name:?} {} {links} {time:?} {note} {content}",
                stat.size() * u64::from(!stat.is_dir())
            ));
            if stat.is_dir() {
                walk(top, &path, lines);
            }
        }
    }
    walk(top, top, &mut lines);
    lines
}

#[test]
fn a_tree_comes_out_as_gnu_tar_extracts_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let tree = directory.path().join("tree");
    std::fs::create_dir(&tree).expect("makes it");
    make_tree(&tree);
    let forms: [&[&str]; 6] = [
        &["--format=gnu"],
        &["--format=gnu", "--sparse"],
        &["--format=posix", "--xattrs"],
        &["--format=posix", "--sparse", "--sparse-version=1.0"],
        &["--format=posix", "--sparse", "--sparse-version=0.1"],
        &["--format=posix", "--sparse", "--sparse-version=0.0"],
    ];
    for (n, form) in forms.iter().enumerate() {
        let archive = directory.path().join(format!("{n}.tar"));
        let status = Command::new("tar")
            .args(*form)
            .arg("--numeric-owner")
            .arg("-cf")
            .arg(&archive)
            .arg("-C")
            .arg(&tree)
            .arg(".")
            .status();
        assert!(status.expect("tar runs").success());
        let theirs = directory.path().join(format!("theirs{n}"));
        std::fs::create_dir(&theirs).expect("makes it");
        let status = Command::new("tar")
            .args(["--xattrs", "--numeric-owner", "-xpf"])
            .arg(&archive)
            .arg("-C")
            .arg(&theirs)
            .status();
        assert!(status.expect("tar runs").success());
        let fixture = Fixture::new();
        let archive = std::fs::read(&archive).expect("reads");
        let chain = fixture.apply(None, &archive).expect("unpacks").chain;
        let ours = fixture.tree(&chain);
        assert_eq!(describe(&ours), describe(&theirs), "{form:?}");
        let blocks = ours.join("sparse").metadata().expect("is there").blocks();
        if form.contains(&"--sparse") {
            assert!(blocks * 512 < 1 << 20, "{form:?}: the holes were filled");
        }
    }
}
