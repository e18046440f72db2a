//! Names of networks: members find each other, and everybody else, by the server at 127.0.0.11.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Background, Ran, Sandbox, eventually};

/// Asks the server of names of a container, from its own network: `[tcp] TYPE NAME` gives a word for the outcome and then
/// the answers, sorted.
const ASK: &str = r#"
import socket, struct, sys
words = sys.argv[1:]
tcp = words[0] == "tcp"
kind, name = words[-2], words[-1]
kinds = {"A": 1, "PTR": 12, "MX": 15, "AAAA": 28}
labels = b"".join(bytes([len(l)]) + l.encode() for l in name.split(".") if l) + b"\0"
query = struct.pack(">HHHHHH", 4242, 0x100, 1, 0, 0, 0) + labels + struct.pack(">HH", kinds[kind], 1)
if tcp:
    s = socket.create_connection(("127.0.0.11", 53), 20)
    s.sendall(struct.pack(">H", len(query)) + query)
    f = s.makefile("rb")
    answer = f.read(struct.unpack(">H", f.read(2))[0])
else:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(20)
    s.connect(("127.0.0.11", 53))
    s.send(query)
    answer = s.recv(65535)
number, flags, _, count = struct.unpack(">HHHH", answer[:8])
assert number == 4242 and flags & 0x8000
out, at = [], 12 + len(labels) + 4
for _ in range(count):
    kind, _, ttl, length = struct.unpack(">HHIH", answer[at + 2:at + 12])
    data = answer[at + 12:at + 12 + length]
    at += 12 + length
    if kind == 1: out.append(socket.inet_ntop(socket.AF_INET, data))
    elif kind == 28: out.append(socket.inet_ntop(socket.AF_INET6, data))
    elif kind == 12:
        parts, i = [], 0
        while data[i]: parts.append(data[i + 1:i + 1 + data[i]].decode()); i += 1 + data[i]
        out.append(".".join(parts))
codes = {0: "fine", 2: "failed", 3: "none", 5: "refused"}
print(codes.get(flags & 15, flags & 15), *(["truncated"] if flags & 0x200 else []), *sorted(out))
"#;

/// A server of names of somebody else: knows `example.test`, refuses `refused.test`, and has more to say of `big.test`
/// than fits over UDP.
const SERVER: &str = r#"
import socket, socketserver, struct, sys, threading
address = sys.argv[1]
mine = sys.argv[2]
def answer(query, tcp):
    at = 12
    labels = []
    while query[at]: labels.append(query[at + 1:at + 1 + query[at]].decode().lower()); at += 1 + query[at]
    question = query[12:at + 5]
    name = ".".join(labels)
    flags, addresses = 0x8180, []
    if name == "example.test": addresses = [mine]
    elif name == "big.test":
        if tcp: addresses = ["192.0.2.%d" % n for n in range(100)]
        else: flags |= 0x200
    elif name == "refused.test": flags |= 5
    else: flags |= 3
    body = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton(a) for a in addresses)
    return query[:2] + struct.pack(">HHHHH", flags, 1, len(addresses), 0, 0) + question + body
class Tcp(socketserver.StreamRequestHandler):
    def handle(self):
        reply = answer(self.rfile.read(struct.unpack(">H", self.rfile.read(2))[0]), True)
        self.wfile.write(struct.pack(">H", len(reply)) + reply)
socketserver.TCPServer.allow_reuse_address = True
tcp = socketserver.ThreadingTCPServer((address, 53), Tcp)
threading.Thread(target=tcp.serve_forever, daemon=True).start()
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind((address, 53))
print("ready", flush=True)
while True:
    query, client = udp.recvfrom(65535)
    udp.sendto(answer(query, False), client)
"#;

struct Net {
    sandbox: Sandbox,
}

impl Net {
    fn new(name: &str) -> Net {
        let sandbox = Sandbox::new(name);
        sandbox.busybox();
        sandbox.engine(&["network", "create", "--subnet", "172.28.0.0/24", "shop"]).ok();
        Net { sandbox }
    }

    /// A container of the network `shop` that does nothing.
    fn run(&self, name: &str, flags: &[&str]) {
        let begin = ["run", "-d", "--name", name, "--network", "shop"];
        self.sandbox.engine(&[&begin, flags, &["busybox", "sleep", "1000"]].concat()).ok();
    }

    fn inspect(&self, name: &str, template: &str) -> String {
        self.sandbox.engine(&["inspect", "-f", template, name]).ok().to_owned()
    }

    fn address(&self, name: &str) -> String {
        self.inspect(name, "{{.NetworkSettings.Networks.shop.IPAddress}}")
    }

    /// A program of the host in the network of a container.
    fn within(&self, name: &str, words: &[&str]) -> Ran {
        let pid = self.inspect(name, "{{.State.Pid}}");
        self.sandbox.host(&[&["nsenter", &format!("--net=/proc/{pid}/ns/net")], words].concat())
    }

    fn ask(&self, name: &str, question: &[&str]) -> String {
        self.within(name, &[&["python3", "-c", ASK], question].concat()).ok().to_owned()
    }

    /// The process that answers for a container.
    fn server_of(&self, name: &str) -> Option<String> {
        let pid = self.inspect(name, "{{.State.Pid}}");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let monitor = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).expect("a parent");
        let children = std::fs::read_to_string(format!("/proc/{monitor}/task/{monitor}/children"));
        let children = children.expect("reads");
        children.split_whitespace().find(|child| *child != pid).map(str::to_owned)
    }

    /// A server of names of the host, at `address`.
    fn server(&self, address: &str, mine: &str) -> Background {
        ready(self.sandbox.command("python3").args(["-c", SERVER, address, mine]))
    }

    /// Runs the engine on a host with this `/etc/resolv.conf`.
    fn engine_with_servers(&self, resolv_conf: &str, args: &[&str]) -> Ran {
        let file = self.sandbox.dir().join("resolv.conf");
        std::fs::write(&file, resolv_conf).expect("writes");
        let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
        let file = file.to_str().expect("a path");
        self.sandbox
            .host(&[&["unshare", "-m", "sh", "-c", script, file, crate::support::ENGINE], args].concat())
    }
}

/// A server that says when it listens.
fn ready(command: &mut Command) -> Background {
    let mut server = Background(command.stdout(Stdio::piped()).spawn().expect("starts"));
    let mut line = String::new();
    BufReader::new(server.0.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("reads");
    assert_eq!(line, "ready\n");
    server
}

#[test]
fn members_are_found_by_every_name_they_have() {
    let net = Net::new("names");
    net.run("web", &["--network-alias", "www", "--net-alias", "Store.Front", "-h", "myhost"]);
    net.run("client", &[]);
    let web = net.address("web");
    let id = net.inspect("web", "{{.Id}}");
    for name in ["web", "WEB", "www", "store.front", &id[..12], "myhost", "web.shop", "www.shop"] {
        assert_eq!(net.ask("client", &["A", name]), format!("fine {web}"), "{name}");
        assert_eq!(net.ask("client", &["tcp", "A", name]), format!("fine {web}"), "{name}");
    }
    // A name that has no address of a family, or nothing of a kind, is a name all the same.
    assert_eq!(net.ask("client", &["AAAA", "web"]), "fine");
    assert_eq!(net.ask("client", &["MX", "web"]), "fine");
    let last = web.rsplit('.').next().expect("four numbers");
    assert_eq!(net.ask("client", &["PTR", &format!("{last}.0.28.172.in-addr.arpa")]), "fine web.shop");
    // As a program asks, and reaches it.
    let pinged = net.sandbox.engine(&["exec", "client", "ping", "-c", "1", "-W", "5", &web]);
    pinged.ok();
    let looked = net.sandbox.engine(&["exec", "client", "nslookup", "www"]);
    assert!(looked.ok().contains(&web), "{looked:?}");
    let conf = net.sandbox.engine(&["exec", "client", "cat", "/etc/resolv.conf"]);
    assert!(conf.ok().starts_with("nameserver 127.0.0.11\n") && conf.stdout.contains("ndots:0"), "{conf:?}");
    // What inspect says.
    assert_eq!(
        net.inspect("web", "{{json .NetworkSettings.Networks.shop.Aliases}}"),
        "[\"www\",\"Store.Front\"]"
    );
    let names = net.inspect("web", "{{json .NetworkSettings.Networks.shop.DNSNames}}");
    assert_eq!(names, format!("[\"web\",\"www\",\"Store.Front\",\"{}\",\"myhost\"]", &id[..12]));
    // Nobody else's: another network, and the default one.
    net.sandbox.engine(&["network", "create", "other"]).ok();
    net.sandbox
        .engine(&["run", "-d", "--name", "stranger", "--network", "other", "busybox", "sleep", "1000"])
        .ok();
    assert_ne!(net.ask("stranger", &["A", "web"]), format!("fine {web}"));
    let conf = net.sandbox.engine(&["run", "--rm", "busybox", "cat", "/etc/resolv.conf"]);
    assert!(!conf.ok().contains("127.0.0.11"), "{conf:?}");
    // An engine that works in its network leaves the server alone.
    let inner = net.sandbox.dir().join("inner");
    let inner = inner.to_str().expect("a path");
    let (store, run) = (format!("ENGINE_ROOT={inner}/store"), format!("ENGINE_RUN_ROOT={inner}/run"));
    let deep = ["env", &store, &run, crate::support::ENGINE, "network"];
    net.within("client", &[&deep[..], &["create", "deep"]].concat()).ok();
    assert_eq!(net.ask("client", &["A", "web"]), format!("fine {web}"));
    net.within("client", &[&deep[..], &["rm", "deep"]].concat()).ok();
    // Who is in another one's network asks its server.
    let shared = ["run", "--rm", "--network", "container:client", "busybox", "nslookup", "web"];
    assert!(net.sandbox.engine(&shared).ok().contains(&web));
}

#[test]
fn a_name_has_addresses_of_both_families_where_its_network_does() {
    let net = Net::new("names-six");
    net.sandbox.engine(&["network", "create", "--ipv6", "--subnet", "fd00:7::/64", "both"]).ok();
    for name in ["web", "client"] {
        net.sandbox
            .engine(&["run", "-d", "--name", name, "--network", "both", "busybox", "sleep", "1000"])
            .ok();
    }
    let four = net.inspect("web", "{{.NetworkSettings.Networks.both.IPAddress}}");
    assert_eq!(net.ask("client", &["A", "web"]), format!("fine {four}"));
    assert_eq!(net.ask("client", &["AAAA", "web"]), "fine fd00:7::2");
    let digits = ["2"].into_iter().chain(std::iter::repeat_n("0", 23)).chain("7.0.0.0.0.0.d.f".split('.'));
    let reversed = format!("{}.ip6.arpa", digits.collect::<Vec<_>>().join("."));
    assert_eq!(net.ask("client", &["PTR", &reversed]), "fine web.both");
}

#[test]
fn names_come_and_go_with_their_containers() {
    let net = Net::new("names-life");
    net.run("client", &["--dns", "127.0.0.1"]);
    let failed = |name: &str| net.ask("client", &["A", name]) == "failed";
    assert!(failed("one"));
    // Who is called the same takes turns.
    net.run("one", &["--network-alias", "both"]);
    net.run("two", &["--network-alias", "both", "--restart", "on-failure"]);
    let (one, two) = (net.address("one"), net.address("two"));
    assert_eq!(net.ask("client", &["A", "both"]), format!("fine {one} {two}"));
    net.sandbox.engine(&["stop", "-t", "0", "one"]).ok();
    assert!(failed("one"));
    assert_eq!(net.ask("client", &["A", "both"]), format!("fine {two}"));
    net.sandbox.engine(&["start", "one"]).ok();
    assert_eq!(net.ask("client", &["A", "both"]), format!("fine {one} {two}"));
    // Another name.
    net.sandbox.engine(&["rename", "one", "uno"]).ok();
    assert!(failed("one"));
    assert_eq!(net.ask("client", &["A", "uno"]), format!("fine {one}"));
    assert_eq!(net.ask("client", &["A", "both"]), format!("fine {one} {two}"));
    net.sandbox.engine(&["rm", "-f", "uno"]).ok();
    assert!(failed("uno"));
    // One that is started again by its policy answers and is found as before.
    let pid = net.inspect("two", "{{.State.Pid}}");
    net.sandbox.host(&["kill", "-9", &pid]).ok();
    eventually(10, "it runs again", || {
        net.inspect("two", "{{.RestartCount}} {{.State.Running}}") == "1 true"
    });
    assert_eq!(net.ask("client", &["A", "both"]), format!("fine {two}"));
    assert_eq!(net.ask("two", &["A", "two"]), format!("fine {two}"));
    // A monitor that is killed takes its container with it, and whoever looks next takes away its names.
    let pid = net.inspect("two", "{{.State.Pid}}");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let monitor = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).expect("a parent").to_owned();
    net.sandbox.host(&["kill", "-9", &monitor]).ok();
    eventually(2, "the loss is seen", || net.inspect("two", "{{.State.Running}}") == "false");
    eventually(2, "its names are gone", || failed("both"));
    net.sandbox.engine(&["rm", "-f", "client"]).ok();
    let directory = net.sandbox.run_root().join("names");
    let left = |path: &std::path::Path| std::fs::read_dir(path).map(|entries| entries.count()).unwrap_or(0);
    let network = std::fs::read_dir(&directory).expect("reads").flatten().next().expect("one network").path();
    assert_eq!(left(&network), 0);
    net.sandbox.engine(&["rm", "-f", "two"]).ok();
    net.sandbox.engine(&["network", "rm", "shop"]).ok();
    assert_eq!(left(&directory), 0);
}

#[test]
fn everybody_else_is_asked_for_at_the_host_s_servers() {
    let net = Net::new("names-others");
    let _first = net.server("127.0.0.1", "192.0.2.1");
    let _second = net.server("127.0.0.2", "192.0.2.2");
    let run = |conf: &str, name: &str, flags: &[&str]| {
        let begin = ["run", "-d", "--name", name];
        net.engine_with_servers(conf, &[&begin, flags, &["busybox", "sleep", "1000"]].concat())
            .ok()
            .to_owned()
    };
    let shop: &[&str] = &["--network", "shop"];
    run("nameserver 127.0.0.1\nsearch one.test\n", "client", shop);
    // The host's loopback is in its reach, though not in the container's.
    assert_eq!(net.ask("client", &["A", "example.test"]), "fine 192.0.2.1");
    assert_eq!(net.ask("client", &["tcp", "A", "Example.Test"]), "fine 192.0.2.1");
    assert_eq!(net.ask("client", &["A", "nobody.test"]), "none");
    assert_eq!(net.ask("client", &["A", "big.test"]), "fine truncated");
    assert_eq!(net.ask("client", &["tcp", "A", "big.test"]).split(' ').count(), 101);
    let conf = net.sandbox.engine(&["exec", "client", "cat", "/etc/resolv.conf"]);
    assert_eq!(conf.ok(), "nameserver 127.0.0.11\nsearch one.test\noptions ndots:0");
    // Where nobody listens, or who refuses, is passed over.
    run("nameserver 127.0.0.9\nnameserver 127.0.0.2\n", "second", shop);
    assert_eq!(net.ask("second", &["A", "example.test"]), "fine 192.0.2.2");
    assert_eq!(net.ask("second", &["tcp", "A", "example.test"]), "fine 192.0.2.2");
    assert_eq!(net.ask("second", &["A", "refused.test"]), "failed");
    // A network without a way out has none for questions either.
    net.sandbox.engine(&["network", "create", "--internal", "inner"]).ok();
    run("nameserver 127.0.0.1\n", "inside", &["--network", "inner"]);
    assert_eq!(net.ask("inside", &["A", "example.test"]), "failed");
    assert!(net.ask("inside", &["A", "inside"]).starts_with("fine "));
    // Those that are asked for are asked from where the container is.
    let gateway = "172.28.0.1";
    let _third = net.server(gateway, "192.0.2.3");
    run("nameserver 127.0.0.1\n", "own", &["--network", "shop", "--dns", gateway]);
    assert_eq!(net.ask("own", &["A", "example.test"]), "fine 192.0.2.3");
    assert_eq!(net.ask("own", &["tcp", "A", "example.test"]), "fine 192.0.2.3");
    run("nameserver 127.0.0.1\n", "lost", &["--network", "shop", "--dns", "127.0.0.1"]);
    assert_eq!(net.ask("lost", &["A", "example.test"]), "failed");
}

#[test]
fn port_53_is_the_program_s_own() {
    let net = Net::new("names-port");
    net.run("web", &[]);
    net.run("server", &[]);
    let (web, server) = (net.address("web"), net.address("server"));
    let pid = net.inspect("server", "{{.State.Pid}}");
    let mut own = net.sandbox.command("nsenter");
    own.args([&format!("--net=/proc/{pid}/ns/net"), "python3", "-c", SERVER, "0.0.0.0", "192.0.2.4"]);
    let _own = ready(&mut own);
    let reach = "import socket, sys; socket.create_connection((sys.argv[1], 53), 5)";
    net.within("web", &["python3", "-c", reach, &server]).ok();
    assert_eq!(net.ask("server", &["A", "web"]), format!("fine {web}"));
    assert_eq!(net.ask("server", &["tcp", "A", "web"]), format!("fine {web}"));
}

#[test]
fn a_hostile_program_gets_nothing_from_the_server_of_names_and_does_not_stop_it() {
    let net = Net::new("names-hostile");
    net.run("web", &[]);
    // Noise, questions that end early, pointers that go in circles, names that lead out of the directory, and
    // connections that say nothing.
    let noise = r#"
import os, random, socket, struct
random.seed(7)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.connect(("127.0.0.11", 53))
head = struct.pack(">HHHHHH", 1, 0x100, 1, 0, 0, 0)
def send(data):
    try: u.send(data)
    except OSError: pass
for n in range(3000):
    send(os.urandom(random.randrange(64)))
    send(head + os.urandom(random.randrange(300)))
send(b""); send(head); send(head + b"\xc0\x0c\0\1\0\1"); send(b"\xff" * 60000)
for name in [b"..", b"../..", b"/etc", b"web/x", b"\0", b"."]:
    send(head + bytes([len(name)]) + name + b"\0\0\1\0\1")
idle = []
for n in range(40):
    s = socket.socket(); s.settimeout(1)
    try: s.connect(("127.0.0.11", 53)); idle.append(s)
    except OSError: pass
import time; time.sleep(1); print("done")
"#;
    assert_eq!(net.within("web", &["python3", "-c", noise]).ok(), "done");
    let web = net.address("web");
    assert_eq!(net.ask("web", &["A", "web"]), format!("fine {web}"));
    // The connections that said nothing end with their client, and others get their turn.
    eventually(15, "a connection is served", || {
        let ran = net.within("web", &["python3", "-c", ASK, "tcp", "A", "web"]);
        ran.stdout == format!("fine {web}\n")
    });
    for outside in ["..", "../..", "shop", "names"] {
        assert!(!net.ask("web", &["A", outside]).starts_with("fine"), "{outside}");
    }
    // It has neither rights nor files of the host open.
    let server = net.server_of("web").expect("a server of names");
    let status = std::fs::read_to_string(format!("/proc/{server}/status")).expect("it runs");
    assert!(
        status.contains("CapEff:\t0000000000000000") && status.contains("CapPrm:\t0000000000000000"),
        "{status}"
    );
    let open = std::fs::read_dir(format!("/proc/{server}/fd")).expect("reads").flatten();
    let open: Vec<_> = open.filter_map(|fd| std::fs::read_link(fd.path()).ok()).collect();
    let ours = |path: &std::path::PathBuf| {
        let path = path.to_string_lossy();
        path == "/dev/null"
            || path.starts_with("socket:")
            || path.starts_with("pidfd")
            || path.starts_with("anon_inode:[pidfd")
    };
    assert!(open.iter().all(ours), "{open:?}");
    // One that is killed, for want of memory say, is followed by another.
    std::thread::sleep(Duration::from_secs(1));
    net.sandbox.host(&["kill", "-9", &server]).ok();
    eventually(5, "there is another", || net.server_of("web").is_some_and(|other| other != server));
    assert_eq!(net.ask("web", &["A", "web"]), format!("fine {web}"));
    assert_eq!(net.ask("web", &["tcp", "A", "web"]), format!("fine {web}"));
}

#[test]
fn aliases_are_for_networks_of_one_s_own_and_can_be_asked_for() {
    let net = Net::new("names-input");
    let refused = |flags: &[&str], words: [&str; 2]| {
        net.sandbox.engine(&[&["run", "--rm"], flags, &["busybox", "true"]].concat()).fails(125, words);
    };
    refused(&["--network-alias", "web"], ["only supported for user-defined networks", "aliases"]);
    refused(&["--network", "host", "--network-alias", "web"], ["user-defined networks", "aliases"]);
    refused(&["--network", "shop", "--network-alias", "a/b"], ["network alias \"a/b\"", "letters"]);
    refused(&["--network", "name=shop,alias=.."], ["network alias \"..\"", "letters"]);
    net.sandbox
        .engine(&[
            "run",
            "-d",
            "--name",
            "ok",
            "--network",
            "name=shop,alias=x,alias=y",
            "busybox",
            "sleep",
            "100",
        ])
        .ok();
    assert!(net.ask("ok", &["A", "y"]).starts_with("fine 172.28.0."));
}
