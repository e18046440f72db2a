//! Images: from registries, archives and file systems, and back.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::fixture::{self, Registry};
use crate::support::{Ran, Sandbox, eventually, run, with_input};

#[test]
fn a_real_debian_is_pulled_and_installs_a_package() {
    let sandbox = Sandbox::new("debian");
    let registry = Registry::start(&sandbox);
    let reference = registry.push_tar(&sandbox, &fixture::debian_tar(), "debian:bookworm");
    let pulled = sandbox.engine(&["pull", &reference]);
    assert!(pulled.ok().contains("Status: Downloaded newer image"), "{pulled:?}");
    assert!(sandbox.engine(&["pull", &reference]).ok().contains("Status: Image is up to date"));
    let release = sandbox.engine(&["run", "--rm", &reference, "cat", "/etc/os-release"]);
    assert!(release.ok().contains("bookworm"));
    // A real package, from this host's own cache of none: built here, installed there.
    let package = sandbox.dir().join("hello.deb");
    run(Command::new("bash").arg("-ec").arg(format!(
        "d=$(mktemp -d); mkdir -p $d/DEBIAN $d/usr/bin; printf 'Package: hello-engine\\nVersion: 1.0\\nArchitecture: all\\nMaintainer: t <t@example.com>\\nDescription: a test\\n' > $d/DEBIAN/control; printf '#!/bin/sh\\necho hello from dpkg\\n' > $d/usr/bin/hello-engine; chmod 755 $d/usr/bin/hello-engine; dpkg-deb --root-owner-group -b $d {}; rm -r $d",
        package.display()
    )));
    let mount = format!("{}:/hello.deb:ro", package.display());
    let ran = sandbox.engine(&[
        "run",
        "--rm",
        "-v",
        &mount,
        &reference,
        "sh",
        "-c",
        "dpkg -i /hello.deb && hello-engine && dpkg -r hello-engine",
    ]);
    assert!(ran.ok().contains("hello from dpkg"), "{ran:?}");
}

#[test]
fn an_image_goes_to_docker_and_skopeo_and_comes_back() {
    let sandbox = Sandbox::new("archives");
    sandbox.busybox();
    let dir = sandbox.dir();
    let saved = dir.join("saved.tar");
    sandbox.engine(&["tag", "busybox", "example.com/box:1"]).ok();
    sandbox.engine(&["save", "-o", saved.to_str().expect("a path"), "example.com/box:1"]).ok();
    let inspected =
        sandbox.host(&["skopeo", "inspect", "--config", &format!("docker-archive:{}", saved.display())]);
    assert!(inspected.ok().contains("layers"), "{inspected:?}");

    let docker = Docker::start(&sandbox);
    docker.run(&["load", "-i", saved.to_str().expect("a path")]);
    assert!(docker.run(&["images"]).contains("example.com/box"));
    docker.run(&["tag", "example.com/box:1", "back:1"]);
    let back = dir.join("back.tar");
    docker.run(&["save", "-o", back.to_str().expect("a path"), "back:1"]);
    let loaded = sandbox.engine(&["load", "-i", back.to_str().expect("a path")]);
    assert!(loaded.ok().contains("Loaded image: back:1"), "{loaded:?}");
    assert_eq!(sandbox.engine(&["run", "--rm", "back:1", "echo", "round"]).ok(), "round");

    let layout = dir.join("oci.tar");
    sandbox
        .host(&[
            "skopeo",
            "--insecure-policy",
            "copy",
            &format!("docker-archive:{}", saved.display()),
            &format!("oci-archive:{}:oci:2", layout.display()),
        ])
        .ok();
    sandbox.engine(&["load", "-i", layout.to_str().expect("a path")]).ok();
    assert!(sandbox.engine(&["images"]).ok().contains("oci"));
}

/// Docker's daemon, without a network of its own.
pub(crate) struct Docker {
    child: std::process::Child,
    socket: String,
    namespaces: PathBuf,
}

impl Docker {
    pub(crate) fn start(sandbox: &Sandbox) -> Docker {
        Docker::start_with(sandbox, &[])
    }

    /// With more flags.
    pub(crate) fn start_with(sandbox: &Sandbox, flags: &[&str]) -> Docker {
        let dir = sandbox.dir().join("docker");
        std::fs::create_dir_all(&dir).expect("a directory");
        let socket = format!("unix://{}/docker.sock", dir.display());
        let path = |name: &str| dir.join(name).display().to_string();
        let child = sandbox
            .command("dockerd")
            .args([
                "--data-root",
                &path("data"),
                "--exec-root",
                &path("exec"),
                "-p",
                &path("pid"),
                "-H",
                &socket,
            ])
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--storage-driver=overlay2"])
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker.io is installed");
        let docker = Docker { child, socket, namespaces: dir.join("exec/netns") };
        eventually(60, "docker answers", || {
            docker.command(&["version"]).output().is_ok_and(|o| o.status.success())
        });
        docker
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(["-H", &self.socket]).args(args);
        command
    }

    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> String {
        run(&mut self.command(args))
    }

    /// Run to its end, whatever that is.
    pub(crate) fn ran(&self, args: &[&str]) -> Ran {
        with_input(&mut self.command(args), b"")
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let containers = self.ran(&["ps", "-aq"]).stdout;
        for id in containers.lines() {
            self.ran(&["rm", "-f", id]);
        }
        let _ = Command::new("kill").arg(self.child.id().to_string()).output();
        let _ = self.child.wait();
        // It leaves the network namespace of the host pinned.
        for entry in std::fs::read_dir(&self.namespaces).into_iter().flatten().flatten() {
            let _ = Command::new("umount").arg(entry.path()).output();
        }
    }
}

#[test]
fn images_are_listed_inspected_tagged_and_removed() {
    let sandbox = Sandbox::new("images");
    sandbox.busybox();
    let list = |format: &str| sandbox.engine(&["images", "--format", format]).ok().to_owned();
    assert_eq!(list("{{.Repository}}:{{.Tag}}"), "busybox:latest");
    sandbox.engine(&["tag", "busybox", "other:1"]).ok();
    assert_eq!(
        list("{{.ID}}").lines().collect::<std::collections::BTreeSet<_>>().len(),
        1,
        "one image, two names"
    );
    assert_eq!(
        sandbox.engine(&["inspect", "-f", "{{len .RootFS.Layers}} {{.Os}}", "other:1"]).ok(),
        "1 linux"
    );
    sandbox.engine(&["run", "--name", "user", "busybox", "true"]).ok();
    assert!(sandbox.engine(&["rmi", "other:1"]).ok().contains("Untagged: other:1"));
    sandbox.engine(&["rmi", "busybox"]).fails(1, ["busybox", "container"]);
    sandbox.engine(&["rm", "user"]).ok();
    assert!(sandbox.engine(&["rmi", "busybox"]).ok().contains("Deleted: sha256:"));
    assert_eq!(list("{{.ID}}"), "");
    sandbox.engine(&["run", "--pull", "never", "busybox", "true"]).fails(125, ["busybox"]);
}

#[test]
fn a_layer_that_two_images_share_is_kept_once() {
    let sandbox = Sandbox::new("shared");
    let registry = Registry::start(&sandbox);
    let one = registry.push_tar(&sandbox, &fixture::busybox_tar(), "one:1");
    let two = registry.push_tar(&sandbox, &fixture::busybox_tar(), "two:1");
    sandbox.engine(&["pull", "-q", &one]).ok();
    sandbox.engine(&["pull", "-q", &two]).ok();
    let layers = std::fs::read_dir(sandbox.root().join("layers")).expect("reads").flatten();
    let layers = layers.filter(|entry| entry.file_name().len() == 64).count();
    assert_eq!(layers, 1);
    sandbox.engine(&["rmi", &one]).ok();
    assert_eq!(sandbox.engine(&["run", "--rm", &two, "echo", "still"]).ok(), "still");
}
