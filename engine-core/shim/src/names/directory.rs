//! The names of a network: a directory that has one for each name, which has a link for each member that is called so.
//! Where the link leads are the member's addresses. An address, as it is asked for backwards, is a name too; there the
//! links lead to what the member is called. Whoever comes or goes touches only what is its own.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

/// A network by what it is called, and its directory.
pub(super) type Network = (String, String);

/// The addresses of the members that are called `name`, or `name.NETWORK`, in these networks; `None` if nobody is.
pub(super) fn addresses(networks: &[Network], name: &str) -> Option<Vec<IpAddr>> {
    let mut found = None;
    for (network, directory) in networks {
        let short =
            name.strip_suffix(network.to_ascii_lowercase().as_str()).and_then(|n| n.strip_suffix('.'));
        for name in [Some(name), short].into_iter().flatten().filter(|name| is_name(name)) {
            for link in links(directory, name) {
                let addresses: &mut Vec<IpAddr> = found.get_or_insert_default();
                addresses.extend(link.split(' ').filter_map(|address| address.parse::<IpAddr>().ok()));
            }
        }
    }
    found
}

/// What the member is called whose address is asked for as `4.3.2.1.in-addr.arpa`, with its network.
pub(super) fn name_of(networks: &[Network], address: &str) -> Option<String> {
    networks.iter().filter(|_| is_name(address)).find_map(|(network, directory)| {
        links(directory, address).first().map(|called| [called.as_str(), ".", network].concat())
    })
}

/// Takes a member out of the directory of a network.
pub(super) fn leave(directory: &str, member: &str) {
    for name in entries(directory) {
        let name = [directory, "/", &name].concat();
        if rustix::fs::unlinkat(CWD, [name.as_str(), "/", member].concat(), AtFlags::empty()).is_ok() {
            // If it was the last one who is called so.
            let _ = rustix::fs::unlinkat(CWD, name, AtFlags::REMOVEDIR);
        }
    }
}

/// What can be a name here: one entry of a directory.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0'])
}

/// Where the links of a name lead.
fn links(directory: &str, name: &str) -> Vec<String> {
    let directory = [directory, "/", name].concat();
    let read = |entry: String| {
        let path = [directory.as_str(), "/", &entry].concat();
        rustix::fs::readlinkat(CWD, path, Vec::new()).ok()?.into_string().ok()
    };
    entries(&directory).into_iter().filter_map(read).collect()
}

fn entries(directory: &str) -> Vec<String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let open = rustix::fs::open(directory, flags, Mode::empty()).and_then(rustix::fs::Dir::new);
    let names = open.into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().to_str().ok().map(String::from));
    names.filter(|name| !name.starts_with('.')).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn members_are_found_by_all_their_names_and_leave_with_all_of_them() {
        let root = std::env::temp_dir().join(std::format!("engine-names-{}", std::process::id()));
        let member = |name: &str, id: &str, target: &str| {
            std::fs::create_dir_all(root.join(name)).expect("a directory");
            symlink(target, root.join(name).join(id)).expect("a link");
        };
        member("web", "one", "10.0.0.2 fd00::2");
        member("web", "two", "10.0.0.3");
        member("db", "two", "10.0.0.3");
        member("3.0.0.10.in-addr.arpa", "two", "db");
        let directory = root.to_str().expect("a path").to_owned();
        let networks = [("Shop".to_owned(), directory.clone())];
        let mut found = addresses(&networks, "web").expect("is there");
        found.sort();
        let expected: [IpAddr; 3] =
            ["10.0.0.2", "10.0.0.3", "fd00::2"].map(|a| a.parse().expect("an address"));
        assert_eq!(found, expected);
        assert_eq!(addresses(&networks, "db.shop").map(|found| found.len()), Some(1));
        for nobody in ["nobody", "", ".", "..", "web/one", "db.other", ".shop", "shop"] {
            assert_eq!(addresses(&networks, nobody), None, "{nobody:?}");
        }
        assert_eq!(name_of(&networks, "3.0.0.10.in-addr.arpa").as_deref(), Some("db.Shop"));
        assert_eq!(name_of(&networks, "2.0.0.10.in-addr.arpa"), None);
        leave(&directory, "two");
        assert_eq!(addresses(&networks, "web").map(|found| found.len()), Some(2));
        assert_eq!((addresses(&networks, "db"), name_of(&networks, "3.0.0.10.in-addr.arpa")), (None, None));
        leave(&directory, "one");
        assert_eq!(std::fs::read_dir(&root).expect("is there").count(), 0);
        std::fs::remove_dir(&root).expect("is empty");
    }
}
