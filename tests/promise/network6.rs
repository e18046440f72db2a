//! Networks with IPv6.

use std::process::{Command, Stdio};

use crate::network::Outside;
use crate::support::{Sandbox, eventually};

/// The other host of the test, with IPv6: 2001:db8:213::1 here, 2001:db8:213::2 there.
fn outside(sandbox: &Sandbox) -> Outside<'_> {
    let outside = Outside::new(sandbox);
    sandbox.host(&["ip", "addr", "add", "2001:db8:213::1/64", "dev", "cable0", "nodad"]).ok();
    outside.shell("ip addr add 2001:db8:213::2/64 dev cable1 nodad");
    outside
}

/// A field of a container's place in a network.
fn place(sandbox: &Sandbox, container: &str, field: &str) -> String {
    let format = format!("{{{{range .NetworkSettings.Networks}}}}{{{{.{field}}}}}{{{{end}}}}");
    sandbox.engine(&["inspect", "-f", &format, container]).ok().to_owned()
}

fn ask(sandbox: &Sandbox, address: &str, port: u16) -> String {
    sandbox
        .host(&["timeout", "5", "bash", "-c", &format!("exec 3<>/dev/tcp/{address}/{port}; cat <&3")])
        .stdout
}

const SERVER: &str = "socat TCP6-LISTEN:80,fork,reuseaddr,ipv6only=0 SYSTEM:'echo tcp' & \
    socat UDP6-RECVFROM:53,fork EXEC:cat & wait";

#[test]
fn members_of_a_network_with_ipv6_reach_each_other_at_once() {
    let sandbox = Sandbox::new("six-members");
    sandbox.busybox();
    sandbox.engine(&["network", "create", "plain"]).ok();
    sandbox.engine(&["run", "--rm", "--network", "plain", "busybox", "true"]).ok();
    assert!(!sandbox.host(&["nft", "list", "ruleset"]).stdout.contains("ip6"), "nobody asked for IPv6");
    sandbox.engine(&["network", "create", "--ipv6", "six"]).ok();
    let shown =
        sandbox.engine(&["network", "ls", "--format", "{{.Name}} {{.IPv4}} {{.IPv6}}"]).ok().to_owned();
    assert!(shown.contains("six true true") && shown.contains("plain true false"), "{shown}");
    let format = "{{.EnableIPv6}} {{range .IPAM.Config}}{{.Subnet}} {{.Gateway}} {{end}}";
    let six = sandbox.engine(&["network", "inspect", "-f", format, "six"]).ok().to_owned();
    let words: Vec<&str> = six.split_whitespace().collect();
    assert!(words[0] == "true" && words.len() == 5, "{six}");
    assert!(
        words[3].starts_with("fd") && words[3].ends_with("::/64"),
        "an address range of this host's own: {six}"
    );
    let prefix = words[3].trim_end_matches("/64").to_owned();
    assert_eq!(words[4], format!("{prefix}1"));

    sandbox.engine(&["run", "-d", "--network", "six", "--name", "one", "busybox", "sleep", "1000"]).ok();
    let address = place(&sandbox, "one", "GlobalIPv6Address");
    assert_eq!(address, format!("{prefix}2"));
    assert_eq!(place(&sandbox, "one", "GlobalIPv6PrefixLen"), "64");
    assert_eq!(place(&sandbox, "one", "IPv6Gateway"), words[4]);
    let member = "{{range .Containers}}{{.IPv6Address}}{{end}}";
    let member = sandbox.engine(&["network", "inspect", "-f", member, "six"]).ok().to_owned();
    assert_eq!(member, format!("{address}/64"));
    // Without a second's wait for anybody who might have the address.
    let run = |script: &str| {
        sandbox.engine(&["run", "--rm", "--network", "six", "-h", "two", "busybox", "sh", "-c", script])
    };
    run(&format!("ping -6 -c1 -W1 {address}")).ok();
    run(&format!("ping -6 -c1 -W1 {}", words[4])).ok();
    run("ping -6 -c1 -W1 ::1").ok();
    let hosts = run("cat /etc/hosts").ok().to_owned();
    assert!(hosts.contains(&format!("{prefix}3\ttwo")), "{hosts}");
    let routes = run("ip -6 route").ok().to_owned();
    assert!(routes.contains(&format!("default via {} dev eth0", words[4])), "{routes}");
    run("cat /proc/sys/net/ipv6/conf/eth0/accept_ra | grep -x 0").ok();
    // The address is its own again after a restart, and free when it is gone.
    sandbox.engine(&["restart", "-t", "0", "one"]).ok();
    assert_eq!(place(&sandbox, "one", "GlobalIPv6Address"), address);
    run(&format!("ping -6 -c1 -W1 {address}")).ok();
    sandbox.engine(&["rm", "-f", "one"]).ok();
    assert!(run("ip -6 addr show dev eth0").ok().contains(&address));
}

#[test]
fn published_ports_answer_by_ipv6_from_everywhere() {
    let sandbox = Sandbox::new("six-ports");
    sandbox.busybox();
    let outside = outside(&sandbox);
    sandbox.engine(&["network", "create", "--ipv6", "six"]).ok();
    let start = ["run", "-d", "--name", "srv", "--network", "six", "-p", "8080:80", "-p", "[::1]:8081:80"];
    let rest = ["-p", "8053:53/udp", "--rootfs", "/:O", "sh", "-c", SERVER];
    sandbox.engine(&[&start[..], &rest].concat()).ok();
    eventually(10, "it answers on the loopback", || ask(&sandbox, "::1", 8080) == "tcp\n");
    assert_eq!(ask(&sandbox, "127.0.0.1", 8080), "tcp\n", "by IPv4 as ever");
    assert_eq!(ask(&sandbox, "2001:db8:213::1", 8080), "tcp\n");
    assert_eq!(ask(&sandbox, "::1", 8081), "tcp\n");
    assert_eq!(ask(&sandbox, "2001:db8:213::1", 8081), "", "that one is of the loopback");
    let from_outside = "exec 3<>/dev/tcp/2001:db8:213::1/8080; cat <&3";
    assert_eq!(outside.shell(from_outside), "tcp\n");
    let ask_udp = "exec 3<>/dev/udp/2001:db8:213::1/8053; echo ping >&3; timeout 5 head -n1 <&3";
    assert_eq!(outside.shell(ask_udp), "ping\n");
    let ask_udp = "exec 3<>/dev/udp/::1/8053; echo ping >&3; timeout 5 head -n1 <&3";
    assert_eq!(sandbox.host(&["bash", "-c", ask_udp]).stdout, "ping\n");
    let gateway = place(&sandbox, "srv", "IPv6Gateway");
    let other = ["run", "--rm", "--network", "six", "busybox", "nc", "-w", "5", &gateway, "8080"];
    assert_eq!(sandbox.engine(&other).ok(), "tcp", "from another container");
    let ports = sandbox.engine(&["ps", "--format", "{{.Ports}}"]).ok().to_owned();
    for port in ["0.0.0.0:8080->80/tcp", "[::]:8080->80/tcp", "[::1]:8081->80/tcp", "[::]:8053->53/udp"] {
        assert!(ports.contains(port), "{port} in {ports}");
    }
    let port = sandbox.engine(&["port", "srv", "80/tcp"]).ok().to_owned();
    assert_eq!(port.lines().collect::<Vec<_>>(), ["0.0.0.0:8080", "[::]:8080", "[::1]:8081"]);
    // A program that has the port in one family only is found.
    sandbox
        .engine(&["run", "--rm", "--network", "six", "-p", "[::1]:8080:80", "busybox", "true"])
        .fails(125, ["8080"]);
    sandbox.engine(&["restart", "-t", "0", "srv"]).ok();
    eventually(10, "it answers after a restart", || ask(&sandbox, "::1", 8080) == "tcp\n");
    sandbox.engine(&["rm", "-f", "srv"]).ok();
    assert_eq!(ask(&sandbox, "::1", 8080), "");
    let table = sandbox.host(&["nft", "list", "table", "ip6", "engine"]).ok().to_owned();
    assert!(!table.contains("8080") && !table.contains("8081"), "{table}");
    sandbox.engine(&["run", "--rm", "--network", "six", "-p", "[::1]:8080:80", "busybox", "true"]).ok();
    // Where the container has IPv4 only, all addresses are those, and one of IPv6 leads nowhere.
    sandbox.engine(&["run", "-d", "--name", "four", "-p", "8080:80", "busybox", "sleep", "1000"]).ok();
    assert_eq!(sandbox.engine(&["port", "four"]).ok(), "80/tcp -> 0.0.0.0:8080");
    sandbox.engine(&["run", "--rm", "-p", "[::1]:8082:80", "busybox", "true"]).fails(125, ["::1", "IPv6"]);
}

#[test]
fn a_policys_restart_keeps_the_ipv6_address_and_the_ports() {
    let sandbox = Sandbox::new("six-restart");
    sandbox.engine(&["network", "create", "--ipv6", "six"]).ok();
    let start = ["run", "-d", "--name", "srv", "--network", "six", "--restart", "always", "-p", "8080:80"];
    // It serves once, and ends.
    let once = ["--rootfs", "/:O", "socat", "TCP6-LISTEN:80,reuseaddr", "SYSTEM:echo tcp"];
    sandbox.engine(&[&start[..], &once].concat()).ok();
    let address = place(&sandbox, "srv", "GlobalIPv6Address");
    for _ in 0..3 {
        eventually(20, "it answers again", || ask(&sandbox, "::1", 8080) == "tcp\n");
    }
    assert_eq!(place(&sandbox, "srv", "GlobalIPv6Address"), address);
    assert_ne!(sandbox.engine(&["inspect", "-f", "{{.RestartCount}}", "srv"]).ok(), "0");
}

#[test]
fn a_container_reaches_the_world_by_ipv6_with_the_hosts_address() {
    let sandbox = Sandbox::new("six-nat");
    sandbox.busybox();
    let outside = outside(&sandbox);
    sandbox.engine(&["network", "create", "--ipv6", "six"]).ok();
    let mut server = Command::new("nsenter")
        .arg(format!("--net=/run/netns/{}-out", sandbox.netns()))
        .args(["socat", "TCP6-LISTEN:7000,fork,reuseaddr", "SYSTEM:echo $SOCAT_PEERADDR"])
        .stdout(Stdio::null())
        .spawn()
        .expect("socat is installed");
    let ask = ["run", "--rm", "--network", "six", "busybox", "nc", "-w", "5", "2001:db8:213::2", "7000"];
    eventually(10, "the world answers through NAT", || {
        sandbox.engine(&ask).stdout == "[2001:0db8:0213:0000:0000:0000:0000:0001]\n"
    });
    sandbox.engine(&["network", "create", "--ipv6", "--internal", "closed"]).ok();
    let closed =
        ["run", "--rm", "--network", "closed", "busybox", "nc", "-w", "1", "2001:db8:213::2", "7000"];
    assert_ne!(sandbox.engine(&closed).code, 0, "there is no way out");
    server.kill().expect("kills");
    server.wait().expect("ends");
    drop(outside);
}

#[test]
fn an_ipv6_address_and_those_of_the_link_can_be_chosen() {
    let sandbox = Sandbox::new("six-chosen");
    sandbox.busybox();
    let create = ["network", "create", "--ipv6", "--subnet", "10.44.0.0/24", "--subnet", "2001:db8:44::/64"];
    sandbox.engine(&[&create[..], &["six"]].concat()).ok();
    sandbox.engine(&["network", "create", "plain"]).ok();
    let run = |flags: &[&str], script: &str| {
        sandbox.engine(&[&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat())
    };
    let show = "ip -o addr show dev eth0";
    let shown =
        run(&["--network", "six", "--ip6", "2001:db8:44::77", "--ip", "10.44.0.9"], show).ok().to_owned();
    assert!(shown.contains("2001:db8:44::77/64") && shown.contains("10.44.0.9/24"), "{shown}");
    let shown = run(&["--network", "name=six,ip6=2001:db8:44::78"], show).ok().to_owned();
    assert!(shown.contains("2001:db8:44::78/64"), "{shown}");
    let link_local = ["--network", "six", "--link-local-ip", "169.254.7.7", "--link-local-ip", "fe80::7"];
    let shown = run(&link_local, show).ok().to_owned();
    assert!(shown.contains("169.254.7.7/16") && shown.contains("fe80::7/64"), "{shown}");
    run(&["--network", "six", "--link-local-ip", "10.0.0.1"], "true").fails(125, ["10.0.0.1"]);

    let hold = [
        "run",
        "-d",
        "--name",
        "one",
        "--network",
        "six",
        "--ip6",
        "2001:db8:44::5",
        "busybox",
        "sleep",
        "99",
    ];
    sandbox.engine(&hold).ok();
    assert_eq!(place(&sandbox, "one", "GlobalIPv6Address"), "2001:db8:44::5");
    assert_eq!(place(&sandbox, "one", "IPAMConfig.IPv6Address"), "2001:db8:44::5");
    run(&["--network", "six", "--ip6", "2001:db8:44::5"], "true")
        .fails(125, ["2001:db8:44::5", "Address already in use"]);
    run(&["--network", "six", "--ip6", "2001:db8:45::5"], "true")
        .fails(125, ["2001:db8:45::5", "2001:db8:44::/64"]);
    run(&["--network", "six", "--ip6", "2001:db8:44::1"], "true").fails(125, ["2001:db8:44::1"]);
    run(&["--network", "plain", "--ip6", "2001:db8:44::6"], "true").fails(125, ["plain", "--ipv6"]);
    run(&["--ip6", "2001:db8:44::6"], "true").fails(125, ["user defined networks only"]);
    sandbox.engine(&["rm", "-f", "one"]).ok();
    run(&["--network", "six", "--ip6", "2001:db8:44::5"], "true").ok();
}

#[test]
fn a_container_that_turns_ipv6_off_is_in_such_a_network_without() {
    let sandbox = Sandbox::new("six-off");
    sandbox.busybox();
    sandbox.engine(&["network", "create", "--ipv6", "six"]).ok();
    let off = ["--network", "six", "--sysctl", "net.ipv6.conf.all.disable_ipv6=1", "-p", "8080:80"];
    let start = [&["run", "-d", "--name", "off"], &off[..], &["busybox", "sleep", "1000"]].concat();
    sandbox.engine(&start).ok();
    assert_eq!(sandbox.engine(&["exec", "off", "ip", "-6", "addr", "show", "dev", "eth0"]).ok(), "");
    assert_eq!(place(&sandbox, "off", "GlobalIPv6Address"), "");
    assert_eq!(sandbox.engine(&["port", "off"]).ok(), "80/tcp -> 0.0.0.0:8080");
    let address = place(&sandbox, "off", "IPAddress");
    sandbox.engine(&["run", "--rm", "--network", "six", "busybox", "ping", "-c1", "-W5", &address]).ok();
}

#[test]
fn a_network_with_ipv6_is_made_as_it_was_asked_for_or_refused() {
    let sandbox = Sandbox::new("six-create");
    let create =
        |flags: &[&str], name: &str| sandbox.engine(&[&["network", "create"], flags, &[name]].concat());
    let both = [
        "--ipv6",
        "--subnet",
        "10.45.0.0/24,2001:db8:45::/64",
        "--gateway",
        "10.45.0.254",
        "--gateway",
        "2001:db8:45::fe",
        "--ip-range",
        "10.45.0.128/25",
        "--ip-range",
        "2001:db8:45::8000/113",
    ];
    create(&both, "both").ok();
    let format = "{{range .IPAM.Config}}{{.Subnet}} {{.IPRange}} {{.Gateway}}\n{{end}}";
    let shown = sandbox.engine(&["network", "inspect", "-f", format, "both"]).ok().to_owned();
    assert_eq!(
        shown.lines().collect::<Vec<_>>(),
        ["10.45.0.0/24 10.45.0.128/25 10.45.0.254", "2001:db8:45::/64 2001:db8:45::8000/113 2001:db8:45::fe"]
    );
    for (flags, words) in [
        (&["--subnet", "2001:db8:46::/64"][..], ["IPv6", "not enabled"]),
        (&["--ipv6", "--subnet", "2001:db8:46::1/64"], ["2001:db8:46::1/64", "2001:db8:46::/64"]),
        (
            &["--ipv6", "--subnet", "2001:db8:46::/64", "--gateway", "2001:db8:47::1"],
            ["gateway", "2001:db8:47::1"],
        ),
        (
            &["--ipv6", "--subnet", "2001:db8:46::/64", "--ip-range", "2001:db8:47::/80"],
            ["range", "2001:db8:47::/80"],
        ),
        (&["--ipv6", "--subnet", "2001:db8:46::/64", "--subnet", "2001:db8:47::/64"], ["--subnet", "twice"]),
        (&["--ipv6", "--subnet", "2001:db8:45::/48"], ["2001:db8:45::/48", "overlaps"]),
        (&["--ipv6", "--subnet", "fe80::/64"], ["fe80::/64", "hosts"]),
    ] {
        let refused = create(flags, "bad");
        assert_ne!(refused.code, 0, "{flags:?}");
        assert!(words.iter().all(|word| refused.stderr.contains(word)), "{flags:?}: {}", refused.stderr);
    }
    let names = sandbox.engine(&["network", "ls", "--format", "{{.Name}}"]).ok().to_owned();
    assert!(!names.contains("bad"), "{names}");
    let table = || sandbox.host(&["nft", "list", "table", "ip6", "engine"]).ok().to_owned();
    let id = sandbox.engine(&["network", "inspect", "-f", "{{.Id}}", "both"]).ok().to_owned();
    let bridge = format!("br-{}", &id[..12]);
    assert!(table().contains(&bridge));
    sandbox.engine(&["network", "rm", "both"]).ok();
    assert!(!table().contains(&bridge), "nothing of it is left");
    assert!(!sandbox.host(&["ip", "-6", "addr"]).ok().contains("2001:db8:45::"));
}

#[test]
fn a_start_with_ipv6_that_is_killed_anywhere_and_a_killed_monitor_leave_nothing() {
    let sandbox = Sandbox::new("six-crash");
    sandbox.busybox();
    sandbox.engine(&["network", "create", "--ipv6", "six"]).ok();
    let start = [
        "run",
        "--name",
        "web",
        "--network",
        "six",
        "--ip6",
        "::",
        "-p",
        "9000:80",
        "busybox",
        "sleep",
        "1000",
    ];
    let subnet = "{{(index .IPAM.Config 1).Subnet}}";
    let subnet = sandbox.engine(&["network", "inspect", "-f", subnet, "six"]).ok().to_owned();
    let address = subnet.replace("/64", "77");
    let start = start.map(|word| if word == "::" { address.as_str() } else { word });
    for point in ["start.reserved", "start.created", "start.connected"] {
        sandbox.engine_dies_at(point, &start);
        eventually(5, "nothing is left running that was not started", || {
            sandbox.engine(&["ps", "-q"]).ok().is_empty()
        });
        sandbox.engine(&["rm", "-f", "web"]).ok();
        sandbox.engine(&["system", "prune", "-f"]).ok();
        // The network was unused, and went with the rest.
        let again = ["network", "create", "--ipv6", "--subnet", &subnet, "six"];
        sandbox.engine(&again).ok();
        let table = sandbox.host(&["nft", "list", "table", "ip6", "engine"]).ok().to_owned();
        assert!(!table.contains("9000"), "after {point}: {table}");
    }
    let detached = [&["run", "-d"], &start[1..]].concat();
    sandbox.engine(&detached).ok();
    let monitor = sandbox.engine(&["inspect", "-f", "{{.State.Pid}}", "web"]).ok().to_owned();
    let stat = std::fs::read_to_string(format!("/proc/{monitor}/stat")).expect("it runs");
    let parent =
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)).expect("has a parent");
    sandbox.host(&["kill", "-9", parent]).ok();
    eventually(10, "the loss is seen", || sandbox.engine(&["ps", "-q"]).ok().is_empty());
    sandbox.engine(&["rm", "-f", "web"]).ok();
    sandbox.engine(&detached).ok();
    assert_eq!(place(&sandbox, "web", "GlobalIPv6Address"), address);
    sandbox.engine(&["rm", "-f", "web"]).ok();
    sandbox.engine(&["network", "rm", "six"]).ok();
}
