//! The network of a container: the bridge, published ports, the host's own, none.

use std::process::{Command, Stdio};

use crate::support::{Sandbox, eventually, run};

/// A host beyond the test's own, joined to it by a cable: 10.213.0.1 here, 10.213.0.2 there.
pub(crate) struct Outside<'a> {
    sandbox: &'a Sandbox,
    netns: String,
}

impl<'a> Outside<'a> {
    pub(crate) fn new(sandbox: &'a Sandbox) -> Outside<'a> {
        let netns = format!("{}-out", sandbox.netns());
        run(Command::new("ip").args(["netns", "add", &netns]));
        let outside = Outside { sandbox, netns };
        sandbox
            .host(&[
                "ip",
                "link",
                "add",
                "cable0",
                "type",
                "veth",
                "peer",
                "name",
                "cable1",
                "netns",
                &outside.netns,
            ])
            .ok();
        sandbox.host(&["ip", "addr", "add", "10.213.0.1/24", "dev", "cable0"]).ok();
        sandbox.host(&["ip", "link", "set", "cable0", "up"]).ok();
        for words in [
            ["addr", "add", "10.213.0.2/24", "dev", "cable1"].as_slice(),
            &["link", "set", "cable1", "up"],
            &["link", "set", "lo", "up"],
        ] {
            run(Command::new("ip").args(["-n", &outside.netns]).args(words));
        }
        outside
    }

    pub(crate) fn shell(&self, script: &str) -> String {
        run(Command::new("nsenter")
            .arg(format!("--net=/run/netns/{}", self.netns))
            .args(["bash", "-c", script]))
    }
}

impl Drop for Outside<'_> {
    fn drop(&mut self) {
        let _ = self.sandbox.host(&["ip", "link", "del", "cable0"]);
        let _ = Command::new("ip").args(["netns", "del", &self.netns]).output();
    }
}

#[test]
fn a_container_without_a_network_has_its_loopback_up() {
    let sandbox = Sandbox::new("no-network");
    sandbox.busybox();
    let script =
        "ip -o addr show | grep -o '127.0.0.1/8\\|eth0'; ping -c 1 127.0.0.1 >/dev/null && echo answers";
    for runtime in [&[][..], &["--runtime", "runc"]] {
        let words =
            [&["run", "--rm", "--network", "none"], runtime, &["busybox", "sh", "-c", script]].concat();
        assert_eq!(sandbox.engine(&words).ok(), "127.0.0.1/8\nanswers", "{runtime:?}");
    }
    // It stays up when the container is started again by itself.
    let policy = ["run", "-d", "--network", "none", "--restart", "on-failure:1", "--name", "again"];
    sandbox
        .engine(&[&policy, ["busybox", "sh", "-c", &format!("{script}; exit 3")].as_slice()].concat())
        .ok();
    eventually(20, "it has run twice", || sandbox.engine(&["logs", "again"]).stdout.lines().count() == 4);
    let said = sandbox.engine(&["logs", "again"]);
    assert_eq!(said.ok(), "127.0.0.1/8\nanswers\n127.0.0.1/8\nanswers");
}

#[test]
fn published_ports_answer_over_tcp_and_udp_from_everywhere() {
    let sandbox = Sandbox::new("ports");
    sandbox.busybox();
    let outside = Outside::new(&sandbox);
    let script =
        "socat TCP-LISTEN:80,fork,reuseaddr SYSTEM:'echo tcp' & socat UDP-RECVFROM:53,fork EXEC:cat & wait";
    sandbox
        .engine(&[
            "run",
            "-d",
            "--name",
            "srv",
            "-p",
            "8080:80",
            "-p",
            "8053:53/udp",
            "--rootfs",
            "/:O",
            "sh",
            "-c",
            script,
        ])
        .ok();
    let ask_tcp = |address: &str| format!("exec 3<>/dev/tcp/{address}/8080; cat <&3");
    eventually(10, "it answers on the loopback", || {
        sandbox.host(&["bash", "-c", &ask_tcp("127.0.0.1")]).stdout == "tcp\n"
    });
    assert_eq!(sandbox.host(&["bash", "-c", &ask_tcp("10.213.0.1")]).ok(), "tcp");
    assert_eq!(outside.shell(&ask_tcp("10.213.0.1")), "tcp\n");
    let ask_udp = "exec 3<>/dev/udp/10.213.0.1/8053; echo ping >&3; timeout 5 head -n1 <&3";
    assert_eq!(outside.shell(ask_udp), "ping\n");
    let gateway = sandbox.engine(&["inspect", "-f", "{{.NetworkSettings.Gateway}}", "srv"]).ok().to_owned();
    let other = sandbox.engine(&["run", "--rm", "busybox", "nc", "-w", "5", &gateway, "8080"]);
    assert_eq!(other.ok(), "tcp", "from another container");
    let own = sandbox.engine(&["exec", "srv", "bash", "-c", &ask_tcp(&gateway)]);
    assert_eq!(own.ok(), "tcp", "from itself");
    let ports = sandbox.engine(&["ps", "--format", "{{.Ports}}"]).ok().to_owned();
    assert!(ports.contains("0.0.0.0:8080->80/tcp") && ports.contains("0.0.0.0:8053->53/udp"), "{ports}");
    sandbox.engine(&["run", "--rm", "-p", "8080:80", "busybox", "true"]).fails(125, ["8080"]);
    sandbox.engine(&["rm", "-f", "srv"]).ok();
    assert_ne!(sandbox.host(&["bash", "-c", &ask_tcp("127.0.0.1")]).code, 0);
    sandbox.engine(&["run", "--rm", "-p", "8080:80", "busybox", "true"]).ok();
}

#[test]
fn a_container_reaches_the_world_with_the_hosts_address_and_other_containers_with_its_own() {
    let sandbox = Sandbox::new("nat");
    sandbox.busybox();
    let outside = Outside::new(&sandbox);
    let mut server = Command::new("nsenter")
        .arg(format!("--net=/run/netns/{}", outside.netns))
        .args(["socat", "TCP-LISTEN:7000,fork,reuseaddr", "SYSTEM:echo $SOCAT_PEERADDR"])
        .stdout(Stdio::null())
        .spawn()
        .expect("socat is installed");
    eventually(10, "the world answers through NAT", || {
        sandbox.engine(&["run", "--rm", "busybox", "nc", "-w", "5", "10.213.0.2", "7000"]).stdout
            == "10.213.0.1\n"
    });
    server.kill().expect("kills");
    server.wait().expect("ends");
    sandbox.engine(&["run", "-d", "--name", "one", "busybox", "sleep", "1000"]).ok();
    let address = sandbox.engine(&["inspect", "-f", "{{.NetworkSettings.IPAddress}}", "one"]).ok().to_owned();
    sandbox.engine(&["run", "--rm", "busybox", "ping", "-c1", "-W5", &address]).ok();
}

#[test]
fn networks_are_apart_and_an_internal_one_has_no_way_out() {
    let sandbox = Sandbox::new("networks");
    sandbox.busybox();
    let outside = Outside::new(&sandbox);
    sandbox.engine(&["network", "create", "net-a"]).ok();
    sandbox.engine(&["network", "create", "--internal", "net-b"]).ok();
    let names = sandbox.engine(&["network", "ls", "--format", "{{.Name}}"]).ok().to_owned();
    assert_eq!(names.lines().collect::<Vec<_>>(), ["bridge", "host", "net-a", "net-b", "none"]);
    sandbox.engine(&["run", "-d", "--network", "net-a", "--name", "in-a", "busybox", "sleep", "1000"]).ok();
    let field = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = sandbox.engine(&["inspect", "-f", field, "in-a"]).ok().to_owned();
    let ping = |network: &str, address: &str| {
        sandbox.engine(&["run", "--rm", "--network", network, "busybox", "ping", "-c1", "-W1", address]).code
    };
    assert_eq!(ping("net-a", &address), 0);
    assert_ne!(ping("bridge", &address), 0, "networks are apart");
    assert_ne!(ping("net-b", &address), 0, "networks are apart");
    assert_eq!(ping("net-a", "10.213.0.2").min(1), ping("bridge", "10.213.0.2").min(1));
    assert_ne!(ping("net-b", "10.213.0.2"), 0, "internal");
    sandbox.engine(&["network", "rm", "net-a"]).fails(1, ["net-a", "in-a"]);
    sandbox.engine(&["rm", "-f", "in-a"]).ok();
    sandbox.engine(&["network", "rm", "net-a", "net-b"]).ok();
    drop(outside);
}

#[test]
fn the_hosts_network_and_none_are_what_they_say() {
    let sandbox = Sandbox::new("hostnet");
    sandbox.busybox();
    let host = sandbox.host(&["readlink", "/proc/self/ns/net"]).ok().to_owned();
    assert_eq!(
        sandbox
            .engine(&["run", "--rm", "--network", "host", "busybox", "readlink", "/proc/self/ns/net"])
            .ok(),
        host
    );
    let none =
        sandbox.engine(&["run", "--rm", "--network", "none", "busybox", "sh", "-c", "ls /sys/class/net"]);
    assert_eq!(none.ok(), "lo");
}

#[test]
fn names_are_in_etc_hosts_and_servers_in_resolv_conf() {
    let sandbox = Sandbox::new("names");
    sandbox.busybox();
    let ran = sandbox.engine(&[
        "run",
        "--rm",
        "-h",
        "me",
        "--add-host",
        "db:10.9.8.7",
        "--dns",
        "9.9.9.9",
        "--dns-search",
        "lan",
        "busybox",
        "sh",
        "-c",
        "cat /etc/hosts /etc/resolv.conf",
    ]);
    let text = ran.ok();
    assert!(text.contains("10.9.8.7\tdb"), "{text}");
    assert!(text.lines().any(|line| line.ends_with("\tme")), "{text}");
    assert!(text.contains("nameserver 9.9.9.9") && text.contains("search lan"), "{text}");
}
