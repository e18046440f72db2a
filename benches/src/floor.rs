//! The floor: the kernel's own work for a container with a bridge network, done by a bare program. clone with all
//! namespaces, a veth born in the new one, address and route, eight cgroups, an overlay, the usual mounts, pivot_root,
//! exec, wait, teardown. No image, no checks, no records: whoever does more than this takes longer.
//!
//! `floor ROOTFS RUNS` prints the microseconds of each run, a line each. It makes a network namespace of its own.
#![expect(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    reason = "the point is to do nothing but system calls, all with arguments that live until they return"
)]
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a program for one measurement: it prints, and may fail loudly"
)]

use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Instant;

const CONTROLLERS: [&str; 8] = ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"];

fn main() {
    let mut args = std::env::args().skip(1);
    let root = args.next().expect("a root file system");
    let runs: u32 = args.next().and_then(|n| n.parse().ok()).unwrap_or(50);
    let work = std::path::PathBuf::from(format!("/var/tmp/engine-floor-{}", std::process::id()));
    std::fs::create_dir_all(&work).expect("a directory");
    check("unshare", unsafe { libc::unshare(libc::CLONE_NEWNET) });
    let netlink = Netlink::open();
    netlink.link("floor0", "bridge", None, None);
    let bridge = index("floor0");
    netlink.address(bridge, [10, 214, 0, 1]);
    netlink.up(bridge);
    for run in 0..runs {
        let begin = Instant::now();
        container(&root, &work, &netlink, bridge, run);
        println!("{}", begin.elapsed().as_micros());
    }
    std::fs::remove_dir_all(&work).expect("removes");
}

fn check(what: &str, result: libc::c_int) -> libc::c_int {
    assert!(result >= 0, "{what}: {}", std::io::Error::last_os_error());
    result
}

fn index(name: &str) -> u32 {
    let name = CString::new(name).expect("no zero byte");
    unsafe { libc::if_nametoindex(name.as_ptr()) }
}

fn container(root: &str, work: &std::path::Path, netlink: &Netlink, bridge: u32, run: u32) {
    let dir = work.join(run.to_string());
    for name in ["upper", "work", "merged"] {
        std::fs::create_dir_all(dir.join(name)).expect("a directory");
    }
    let unified = !std::path::Path::new("/sys/fs/cgroup/memory").exists();
    let groups: Vec<String> = match unified {
        true => vec![format!("/sys/fs/cgroup/floor-{}", std::process::id())],
        false => {
            CONTROLLERS.iter().map(|c| format!("/sys/fs/cgroup/{c}/floor-{}", std::process::id())).collect()
        }
    };
    for group in &groups {
        std::fs::create_dir_all(group).expect("a group");
        if group.contains("/cpuset/") {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let parent = std::fs::read_to_string(format!("/sys/fs/cgroup/cpuset/{file}")).expect("reads");
                std::fs::write(format!("{group}/{file}"), parent.trim()).expect("writes");
            }
        }
    }
    let mut pipe = [0; 2];
    check("pipe", unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC) });
    let (read, write) = unsafe { (OwnedFd::from_raw_fd(pipe[0]), OwnedFd::from_raw_fd(pipe[1])) };
    let flags =
        libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;
    let pid = unsafe { libc::syscall(libc::SYS_clone, i64::from(flags | libc::SIGCHLD), 0, 0, 0, 0) }
        as libc::pid_t;
    check("clone", pid);
    if pid == 0 {
        for group in &groups {
            std::fs::write(format!("{group}/cgroup.procs"), "0").expect("joins");
        }
        check("unshare", unsafe { libc::unshare(libc::CLONE_NEWCGROUP) });
        mounts(root, &dir);
        let mut go = [0u8];
        unsafe { libc::read(read.as_raw_fd(), go.as_mut_ptr().cast(), 1) };
        let inside = Netlink::open();
        inside.up(1);
        let eth = index("eth0");
        inside.address(eth, [10, 214, 0, 2]);
        inside.up(eth);
        inside.route([10, 214, 0, 1]);
        let program = c"/bin/true".as_ptr();
        let argv = [program, std::ptr::null()];
        unsafe { libc::execv(program, argv.as_ptr()) };
        unsafe { libc::_exit(127) };
    }
    netlink.link(&format!("floor{run}v"), "veth", Some(bridge), Some(pid as u32));
    std::fs::File::from(write).write_all(b"g").expect("writes");
    let mut status = 0;
    check("wait", unsafe { libc::waitpid(pid, &mut status, 0) });
    assert_eq!(status, 0, "the program failed");
    for group in &groups {
        while std::fs::remove_dir(group).is_err() {}
    }
    std::fs::remove_dir_all(&dir).expect("removes");
}

fn mount(source: &str, target: &str, kind: &str, flags: libc::c_ulong, data: &str) {
    let [source, target, kind, data] =
        [source, target, kind, data].map(|s| CString::new(s).expect("no zero byte"));
    check("mount", unsafe {
        libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast())
    });
}

fn mounts(root: &str, dir: &std::path::Path) {
    mount("none", "/", "", libc::MS_REC | libc::MS_PRIVATE, "");
    let dir = dir.display();
    let merged = format!("{dir}/merged");
    mount(
        "overlay",
        &merged,
        "overlay",
        0,
        &format!("lowerdir={root},upperdir={dir}/upper,workdir={dir}/work,volatile"),
    );
    std::env::set_current_dir(&merged).expect("enters");
    mount("proc", "proc", "proc", 0, "");
    mount("tmpfs", "dev", "tmpfs", 0, "mode=755");
    for (name, kind) in [("pts", "devpts"), ("shm", "tmpfs"), ("mqueue", "mqueue")] {
        std::fs::create_dir(format!("dev/{name}")).expect("a directory");
        mount(kind, &format!("dev/{name}"), kind, 0, "");
    }
    mount("sysfs", "sys", "sysfs", libc::MS_RDONLY, "");
    for (name, minor) in [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)] {
        let path = CString::new(format!("dev/{name}")).expect("no zero byte");
        check("mknod", unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o666, libc::makedev(1, minor)) });
    }
    let here = c".".as_ptr();
    check("pivot_root", unsafe { libc::syscall(libc::SYS_pivot_root, here, here) } as libc::c_int);
    check("umount", unsafe { libc::umount2(here, libc::MNT_DETACH) });
}

/// A socket for links, addresses and routes; each request is answered before the next.
struct Netlink(OwnedFd);

impl Netlink {
    fn open() -> Netlink {
        let fd = unsafe {
            libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE)
        };
        check("socket", fd);
        Netlink(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    fn request(&self, kind: u16, flags: u16, body: &[u8]) {
        let mut message = Vec::new();
        message.extend(((16 + body.len()) as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((flags | (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16).to_ne_bytes());
        message.extend([0u8; 8]);
        message.extend(body);
        let fd = self.0.as_raw_fd();
        let mut answer = [0u8; 4096];
        unsafe {
            libc::send(fd, message.as_ptr().cast(), message.len(), 0);
            libc::recv(fd, answer.as_mut_ptr().cast(), answer.len(), 0);
        }
        let error = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
        assert_eq!(error, 0, "netlink request {kind}");
    }

    fn link(&self, name: &str, kind: &str, master: Option<u32>, peer_of: Option<u32>) {
        let mut body = ifinfo(0, u32::from(peer_of.is_some()));
        attribute(&mut body, libc::IFLA_IFNAME, &[name.as_bytes(), &[0]].concat());
        if let Some(master) = master {
            attribute(&mut body, libc::IFLA_MASTER, &master.to_ne_bytes());
        }
        let mut info = Vec::new();
        attribute(&mut info, 1, kind.as_bytes());
        if let Some(pid) = peer_of {
            let mut peer = ifinfo(0, 0);
            attribute(&mut peer, libc::IFLA_IFNAME, b"eth0\0");
            attribute(&mut peer, libc::IFLA_NET_NS_PID, &pid.to_ne_bytes());
            let mut data = Vec::new();
            attribute(&mut data, 1, &peer);
            attribute(&mut info, 2, &data);
        }
        attribute(&mut body, libc::IFLA_LINKINFO, &info);
        self.request(libc::RTM_NEWLINK, (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16, &body);
    }

    fn up(&self, index: u32) {
        self.request(libc::RTM_NEWLINK, 0, &ifinfo(index, 1));
    }

    fn address(&self, index: u32, address: [u8; 4]) {
        let mut body = vec![libc::AF_INET as u8, 16, 0, 0];
        body.extend(index.to_ne_bytes());
        attribute(&mut body, libc::IFA_LOCAL, &address);
        attribute(&mut body, libc::IFA_ADDRESS, &address);
        self.request(libc::RTM_NEWADDR, (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16, &body);
    }

    fn route(&self, gateway: [u8; 4]) {
        let mut body = vec![
            libc::AF_INET as u8,
            0,
            0,
            0,
            libc::RT_TABLE_MAIN,
            libc::RTPROT_STATIC,
            0,
            libc::RTN_UNICAST,
        ];
        body.extend([0u8; 4]);
        attribute(&mut body, libc::RTA_GATEWAY, &gateway);
        self.request(libc::RTM_NEWROUTE, (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16, &body);
    }
}

fn ifinfo(index: u32, up: u32) -> Vec<u8> {
    let mut body = vec![0u8; 4];
    body.extend(index.to_ne_bytes());
    body.extend((up * libc::IFF_UP as u32).to_ne_bytes());
    body.extend((up * libc::IFF_UP as u32).to_ne_bytes());
    body
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend(((4 + value.len()) as u16).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}
