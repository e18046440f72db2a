//! The names of the members of a network, for the servers of names that their monitors have: see
//! `engine-core/shim/src/names/directory.rs` for what is where. A member's links are put in when it is connected, and
//! taken out by its monitor when it ends; or by an engine, where a monitor could not.

use std::fs;
use std::io::ErrorKind as Io;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result, Subject};
use crate::id::NetworkId;

/// The directory of a name goes with the last who is called so; then it is made again, so often.
const ATTEMPTS: usize = 256;
/// The longest name (RFC 1035, section 2.3.4).
const LONGEST: usize = 253;

/// The names of one network.
#[derive(Clone, Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// Those of `network`; `run_root` is where they lie.
    pub(crate) fn of(run_root: &Path, network: &NetworkId) -> Directory {
        Directory(run_root.join("names").join(network.as_str()))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Has a member be called all of `names`, the first of which is what its addresses are called. Names that nobody can
    /// ask for are left out. Blocks.
    pub(super) fn enter(&self, member: &str, names: &[String], addresses: &[IpAddr]) -> Result<()> {
        let all = addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ");
        for name in names.iter().filter(|name| check(name).is_ok()) {
            self.link(&name.to_ascii_lowercase(), member, &all)?;
        }
        if let Some(first) = names.first() {
            addresses.iter().try_for_each(|address| self.link(&reversed(*address), member, first))?;
        }
        Ok(())
    }

    fn link(&self, name: &str, member: &str, target: &str) -> Result<()> {
        let directory = self.0.join(name);
        let link = directory.join(member);
        let subject = || format!("the name {}", link.display());
        for _ in 0..ATTEMPTS {
            // The last who was called so may take the directory away at any moment: it is there and then it is not.
            match fs::create_dir_all(&directory) {
                Err(e) if matches!(e.kind(), Io::NotFound | Io::AlreadyExists) => continue,
                made => made.subject(subject)?,
            }
            match symlink(target, &link) {
                Err(e) if e.kind() == Io::NotFound => {}
                // It is called so twice.
                Err(e) if e.kind() == Io::AlreadyExists => return Ok(()),
                made => return made.subject(subject),
            }
        }
        Err(Error::new(ErrorKind::Unavailable, subject())
            .because("its directory vanishes whenever it was made")
            .with_remedy("try again"))
    }

    /// Takes a member's names out. That there are none is no error. Blocks.
    pub(super) fn leave(&self, member: &str) {
        let names = fs::read_dir(&self.0).into_iter().flatten().flatten();
        for name in names.map(|entry| entry.path()) {
            if fs::remove_file(name.join(member)).is_ok() {
                // Fails as long as somebody else is called so.
                let _ = fs::remove_dir(&name);
            }
        }
    }

    /// Takes it away with its network. Blocks.
    pub(super) fn remove(&self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Refuses a name that nobody can ask for.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), naming it.
pub(crate) fn check(name: &str) -> Result<()> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    match name.len() <= LONGEST && name.split('.').all(label) {
        true => Ok(()),
        false => Err(Error::invalid(format!("network alias {name:?}"), "nobody can ask for such a name")
            .with_remedy("use letters, digits, '-', '_' and single dots, at most 63 between two dots")),
    }
}

/// The name under which an address is asked for: `4.3.2.1.in-addr.arpa` (RFC 1035, section 3.5; RFC 3596, section 2.5).
fn reversed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let mut name = String::with_capacity(72);
            for octet in address.octets().iter().rev() {
                name.push_str(&format!("{:x}.{:x}.", octet & 15, octet >> 4));
            }
            name.push_str("ip6.arpa");
            name
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_can_be_asked_for() {
        let long = ["a"; 126].join(".");
        for good in ["web", "Web-1", "my_db", "a.b.c", "1", &"x".repeat(63), &long] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in
            ["", ".", "..", "a..b", ".a", "a.", "a/b", "ü", "a b", &"x".repeat(64), &format!("{long}.bc")]
        {
            let error = check(bad).expect_err(bad);
            assert!(error.remedy().is_some());
        }
    }

    #[test]
    fn who_comes_while_another_goes_is_called_so() {
        let root = tempfile::tempdir().expect("a directory");
        let network = "00".repeat(32).parse().expect("well formed");
        let (here, there) = (Directory::of(root.path(), &network), Directory::of(root.path(), &network));
        let (names, address) = (["web".to_owned()], ["10.0.0.2".parse().expect("an address")]);
        let ended = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                    there.enter("other", &names, &address).expect("is written");
                    there.leave("other");
                }
            });
            for _ in 0..5000 {
                let entered = here.enter("one", &names, &address);
                let is_there = here.path().join("web").join("one").is_symlink();
                here.leave("one");
                if entered.is_err() || !is_there {
                    ended.store(true, std::sync::atomic::Ordering::Relaxed);
                    panic!("{entered:?} {is_there}");
                }
            }
            ended.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn members_come_and_go_each_with_all_its_names() {
        let root = tempfile::tempdir().expect("a directory");
        let network = "00".repeat(32).parse().expect("well formed");
        let directory = Directory::of(root.path(), &network);
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let one: [IpAddr; 2] = ["10.0.0.2", "fd00::2"].map(|text| text.parse().expect("an address"));
        directory.enter("one", &names(&["Web", "www", "bad/name", "web"]), &one).expect("is written");
        directory
            .enter("two", &names(&["web"]), &["10.0.0.3".parse().expect("an address")])
            .expect("is written");
        let link = |name: &str, member: &str| fs::read_link(directory.path().join(name).join(member)).ok();
        assert_eq!(link("web", "one"), Some("10.0.0.2 fd00::2".into()));
        assert_eq!(link("web", "two"), Some("10.0.0.3".into()));
        assert_eq!(link("2.0.0.10.in-addr.arpa", "one"), Some("Web".into()));
        let six = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
        assert_eq!(link(six, "one"), Some("Web".into()));
        directory.leave("one");
        let mut left: Vec<_> =
            fs::read_dir(directory.path()).expect("reads").flatten().map(|e| e.file_name()).collect();
        left.sort();
        assert_eq!(left, ["3.0.0.10.in-addr.arpa", "web"]);
        directory.leave("nobody");
        directory.remove();
        assert!(!directory.path().exists());
        directory.leave("two");
    }
}
