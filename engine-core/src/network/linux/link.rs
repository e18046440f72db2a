//! What links, addresses and routes there are.

use std::net::Ipv6Addr;
use std::time::Duration;

use nix::errno::Errno;

use super::connection::Connection;
use super::family::{self, Family};
use super::netlink::{Batch, DUMP, attribute, attributes, descend, text, u32_at};
use super::route::{
    GETADDR, GETLINK, GETROUTE, IFA_ADDRESS, IFA_LOCAL, IFLA_AF_SPEC, IFLA_EXT_MASK, IFLA_IFALIAS,
    IFLA_IFNAME, IFLA_INET_CONF, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_MASTER, IFLA_MTU, IFLA_OPERSTATE, INET,
    NO_STATISTICS, OPERATES, ROUTE_IS_LOCAL, ROUTE_LOCALNET, RTA_DST, UP, link_header,
};
use crate::error::Result;
use crate::spec::{self, Subnet};

/// How often is looked whether packets pass and arrive; then whoever sends repeats what was lost.
const ATTEMPTS: usize = 200;
const PAUSE: Duration = Duration::from_micros(250);

/// A link of this namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) up: bool,
    pub(super) mtu: u32,
    /// What somebody noted on it.
    pub(super) alias: Vec<u8>,
    pub(super) is_bridge: bool,
    /// The link it is a port of.
    pub(super) master: Option<u32>,
    /// Packets from and to 127.0.0.0/8 may pass.
    pub(super) route_localnet: bool,
    /// Packets pass: it is up, and the kernel has noticed that there is somebody at the other end.
    pub(super) operates: bool,
}

/// An address of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address<A> {
    pub(super) link: u32,
    pub(super) address: A,
    pub(super) subnet: Subnet<A>,
}

fn parse_link(body: &[u8]) -> Option<Link> {
    let rest = body.get(16..)?;
    let mut link = Link {
        index: u32_at(body, 4)?,
        name: String::new(),
        up: u32_at(body, 8)? & UP != 0,
        mtu: 0,
        alias: Vec::new(),
        is_bridge: false,
        master: None,
        route_localnet: false,
        operates: false,
    };
    for (kind, value) in attributes(rest) {
        match kind {
            IFLA_IFNAME => link.name = String::from_utf8_lossy(text(value)).into_owned(),
            IFLA_MTU => link.mtu = u32_at(value, 0)?,
            IFLA_MASTER => link.master = u32_at(value, 0),
            IFLA_IFALIAS => link.alias = text(value).to_vec(),
            IFLA_OPERSTATE => link.operates = value == [OPERATES],
            IFLA_LINKINFO => {
                link.is_bridge = attribute(value, IFLA_INFO_KIND).is_some_and(|kind| text(kind) == b"bridge");
            }
            IFLA_AF_SPEC => {
                // An array of numbers, without the unused first setting.
                let settings = descend(value, &[u16::from(INET), IFLA_INET_CONF]);
                let at = usize::from(ROUTE_LOCALNET - 1) * 4;
                link.route_localnet = settings.and_then(|settings| u32_at(settings, at)) == Some(1);
            }
            _ => {}
        }
    }
    Some(link)
}

/// The link of that name.
pub(super) fn find(connection: &mut Connection, name: &str) -> Result<Option<Link>> {
    let mut batch = Batch::new();
    batch.message(GETLINK, 0, &link_header(0, 0, 0), |m| {
        m.text(IFLA_IFNAME, name);
        m.native(IFLA_EXT_MASK, NO_STATISTICS);
    });
    let mut link = None;
    let refusals = connection.ask(batch, |_, message| link = parse_link(message.body))?;
    match refusals.into_iter().flatten().next() {
        None => Ok(link),
        Some(refusal) if refusal.errno == Errno::ENODEV => Ok(None),
        Some(refusal) => Err(refusal.about(format!("link {name}"))),
    }
}

/// Waits until packets pass through the links, in their order.
///
/// A veth has a carrier when both ends are up, but the kernel notes that in a queue, and until it has worked that off
/// it drops what is sent: the first packet of a container would be lost, and repeated a second later. To be asked for
/// the link makes newer kernels (6.8) work off its note at once; older ones get to it soon.
pub(super) fn await_carrier(connection: &mut Connection, names: &[&str]) -> Result<()> {
    for name in names {
        for _ in 0..ATTEMPTS {
            match find(connection, name)? {
                Some(link) if !link.operates => std::thread::sleep(PAUSE),
                _ => break,
            }
        }
    }
    Ok(())
}

/// Waits until packets to an IPv6 address that a link was just given arrive.
///
/// The kernel puts the address into its table of routes in a queue, also if it does not ask around whether anybody has
/// it. Until then it throws away what comes for it: the answer to a container's first question, which would be repeated
/// a second later.
pub(super) fn await_arrival(connection: &mut Connection, address: Ipv6Addr) -> Result<()> {
    const WHOLE: u8 = 128;
    let mut header = [0; 12];
    header[..2].copy_from_slice(&[Family::V6.number(), WHOLE]);
    for _ in 0..ATTEMPTS {
        let mut batch = Batch::new();
        batch.message(GETROUTE, 0, &header, |m| m.bytes(RTA_DST, &address.octets()));
        let mut arrives = false;
        // A refusal is no answer: there may be no route at all yet.
        connection.ask(batch, |_, message| arrives |= message.body.get(7) == Some(&ROUTE_IS_LOCAL))?;
        if arrives {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// All links.
pub(super) fn list(connection: &mut Connection) -> Result<Vec<Link>> {
    let mut batch = Batch::new();
    batch.message(GETLINK, DUMP, &link_header(0, 0, 0), |m| m.native(IFLA_EXT_MASK, NO_STATISTICS));
    let mut links = Vec::new();
    connection
        .dump(batch, |message| links.extend(parse_link(message.body)))?
        .map_err(|refusal| refusal.about("links of the host"))?;
    Ok(links)
}

/// The addresses of one family, of one link or of all.
pub(super) fn addresses<A: spec::Address>(
    connection: &mut Connection,
    link: Option<u32>,
) -> Result<Vec<Address<A>>> {
    let mut header = [0; 8];
    header[0] = Family::of_all::<A>().number();
    header[4..].copy_from_slice(&link.unwrap_or(0).to_ne_bytes());
    let mut batch = Batch::new();
    batch.message(GETADDR, DUMP, &header, |_| ());
    let mut addresses = Vec::new();
    connection
        .dump(batch, |message| addresses.extend(parse_address(message.body)))?
        .map_err(|refusal| refusal.about("addresses of the host"))?;
    addresses.retain(|address| link.is_none_or(|link| link == address.link));
    Ok(addresses)
}

fn parse_address<A: spec::Address>(body: &[u8]) -> Option<Address<A>> {
    let (family, prefix) = (*body.first()?, *body.get(1)?);
    if family != Family::of_all::<A>().number() {
        return None;
    }
    let rest = body.get(8..)?;
    let value = attribute(rest, IFA_LOCAL).or_else(|| attribute(rest, IFA_ADDRESS))?;
    let address = family::parse(value)?;
    Some(Address { link: u32_at(body, 4)?, address, subnet: Subnet::of(address, prefix) })
}

/// The destinations of the host's routes of one family, in every table, without the default routes.
pub(super) fn routes<A: spec::Address>(connection: &mut Connection) -> Result<Vec<Subnet<A>>> {
    let mut header = [0; 12];
    header[0] = Family::of_all::<A>().number();
    let mut batch = Batch::new();
    batch.message(GETROUTE, DUMP, &header, |_| ());
    let mut routes = Vec::new();
    connection
        .dump(batch, |message| routes.extend(parse_route(message.body)))?
        .map_err(|refusal| refusal.about("routes of the host"))?;
    Ok(routes)
}

fn parse_route<A: spec::Address>(body: &[u8]) -> Option<Subnet<A>> {
    let prefix = *body.get(1)?;
    let destination = attribute(body.get(12..)?, RTA_DST)?;
    (prefix > 0).then_some(Subnet::of(family::parse(destination)?, prefix))
}

/// Whether a name can be that of an interface (`dev_valid_name` of the kernel, and without `%`, which it would expand).
pub(super) fn is_name(name: &str) -> bool {
    (1..16).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b'%'))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_loopback_is_found_with_its_address() {
        let mut connection = Connection::route().expect("opens");
        let lo = find(&mut connection, "lo").expect("answers").expect("is there");
        assert_eq!((lo.index, lo.name.as_str(), lo.is_bridge), (1, "lo", false));
        assert!(list(&mut connection).expect("answers").contains(&lo));
        assert_eq!(find(&mut connection, "no-such-link").expect("answers"), None);
    }

    #[test]
    fn interface_names_are_checked() {
        for good in ["engine0", "br-0123456789ab", "a.b"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "br%d", "a:0", "0123456789abcdef", "ü"] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = (parse_link(&bytes), parse_address::<Ipv4Addr>(&bytes), parse_route::<Ipv4Addr>(&bytes));
            let _ = (parse_address::<Ipv6Addr>(&bytes), parse_route::<Ipv6Addr>(&bytes));
        }
    }
}
