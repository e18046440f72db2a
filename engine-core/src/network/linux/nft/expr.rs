//! Rules: what a packet is asked, and what becomes of it. Only the questions that the engine's rules ask.
//!
//! A rule is a program on registers. Each question here loads what it asks for to the first register, and ends the
//! rule if the answer is no; concatenated keys lie in consecutive registers of four bytes.

use std::net::{IpAddr, Ipv6Addr};

use super::batch::{self, DATA_VALUE};
use crate::network::linux::family::{Family, octets};
use crate::network::linux::netlink::Batch;

/// The first register of sixteen bytes. It is the same as `word(0)`, by its older name.
const FIRST: u32 = 1;
/// The verdict.
const VERDICT: u32 = 0;

/// The register of four bytes with that number.
const fn word(number: u32) -> u32 {
    8 + number
}

const LIST_ELEM: u16 = 1;
const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;

/// Which way a packet goes through an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It came in.
    In,
    /// It goes out.
    Out,
}

impl Way {
    /// `NFT_META_IIFNAME` and `NFT_META_OIFNAME`.
    fn key(self) -> u32 {
        match self {
            Way::In => 6,
            Way::Out => 7,
        }
    }
}

/// Where a header has its addresses, in bytes: the source, the destination, and how long each is.
struct Addresses {
    source: u32,
    destination: u32,
    length: u32,
}

fn addresses(family: Family) -> Addresses {
    match family {
        Family::V4 => Addresses { source: 12, destination: 16, length: 4 },
        Family::V6 => Addresses { source: 8, destination: 24, length: 16 },
    }
}

/// What every address of the loopback begins with.
fn loopback(family: Family) -> &'static [u8] {
    const ONE: [u8; 16] = Ipv6Addr::LOCALHOST.octets();
    match family {
        Family::V4 => &[127],
        Family::V6 => &ONE,
    }
}

/// A rule in the making.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    family: Family,
    batch: Batch,
}

impl Rule {
    /// One that matches everything and does nothing.
    pub(super) fn new(family: Family) -> Rule {
        Rule { family, batch: Batch::default() }
    }

    pub(super) fn write(&self, batch: &mut Batch) {
        if let Some(bytes) = self.batch.clone().finish() {
            batch.raw(&bytes);
        }
    }

    fn expression(mut self, name: &str, body: impl FnOnce(&mut Batch)) -> Rule {
        self.batch.nest(LIST_ELEM, |m| {
            m.text(EXPR_NAME, name);
            m.nest(EXPR_DATA, body);
        });
        self
    }

    fn meta(self, key: u32, register: u32) -> Rule {
        self.expression("meta", |m| {
            m.network(2, key);
            m.network(1, register);
        })
    }

    /// Loads bytes of a header: base 1 is the network's, base 2 the transport's.
    fn payload(self, base: u32, offset: u32, length: u32, register: u32) -> Rule {
        self.expression("payload", |m| {
            m.network(1, register);
            m.network(2, base);
            m.network(3, offset);
            m.network(4, length);
        })
    }

    fn compare(self, differs: bool, value: &[u8]) -> Rule {
        self.expression("cmp", |m| {
            m.network(1, FIRST);
            m.network(2, u32::from(differs));
            m.nest(3, |m| m.bytes(DATA_VALUE, value));
        })
    }

    fn lookup(self, set: &str, inverted: bool, destination: Option<u32>) -> Rule {
        self.expression("lookup", |m| {
            m.text(1, set);
            m.network(2, FIRST);
            if let Some(register) = destination {
                m.network(3, register);
            }
            if inverted {
                m.network(5, 1);
            }
        })
    }

    /// The interface is in the set.
    pub(super) fn interface_in(self, way: Way, set: &str) -> Rule {
        self.meta(way.key(), FIRST).lookup(set, false, None)
    }

    /// The interface is not in the set; that there is none does not count.
    pub(super) fn interface_not_in(self, way: Way, set: &str) -> Rule {
        self.meta(way.key(), FIRST).lookup(set, true, None)
    }

    /// The pair of interfaces is in the set.
    pub(super) fn interfaces_in(self, set: &str) -> Rule {
        // The second register of sixteen bytes follows the first.
        self.meta(Way::In.key(), FIRST).meta(Way::Out.key(), FIRST + 1).lookup(set, false, None)
    }

    /// The interface has this name, or one that begins so. In the very form that `iptables` writes and reads.
    pub(super) fn interface(self, way: Way, name: &str, whole: bool) -> Rule {
        let mut value = name.as_bytes().to_vec();
        if whole {
            value.push(0);
        }
        self.meta(way.key(), FIRST).compare(false, &value)
    }

    /// The packet came in through no interface.
    pub(super) fn came_from_nowhere(self) -> Rule {
        // `NFT_META_IIF`.
        self.meta(4, FIRST).compare(false, &[0; 4])
    }

    /// Counts, as every rule of `iptables` does.
    pub(super) fn counter(self) -> Rule {
        self.expression("counter", |m| {
            m.bytes(1, &[0; 8]);
            m.bytes(2, &[0; 8]);
        })
    }

    /// The packet comes from the loopback.
    pub(super) fn source_is_loopback(self) -> Rule {
        let at = addresses(self.family).source;
        self.address_is_loopback(at)
    }

    /// The packet goes to the loopback.
    pub(super) fn destination_is_loopback(self) -> Rule {
        let at = addresses(self.family).destination;
        self.address_is_loopback(at)
    }

    fn address_is_loopback(self, offset: u32) -> Rule {
        let value = loopback(self.family);
        self.payload(1, offset, value.len() as u32, FIRST).compare(false, value)
    }

    /// The connection began at the loopback. Of IPv6.
    pub(super) fn connection_of_loopback(self) -> Rule {
        // `NFT_CT_SRC_IP6` of the original direction.
        let value = loopback(self.family);
        self.connection_address(21, 0).compare(false, value)
    }

    /// The packet goes where the connection's answers went before they were translated. Of IPv6.
    pub(super) fn restore_destination(self) -> Rule {
        // `NFT_CT_DST_IP6` of the answers.
        self.connection_address(22, 1).write_destination()
    }

    /// The packet goes to the loopback from now on. Of IPv6.
    pub(super) fn destine_to_loopback(self) -> Rule {
        let value = loopback(self.family);
        self.expression("immediate", |m| {
            m.network(1, FIRST);
            m.nest(2, |m| m.bytes(DATA_VALUE, value));
        })
        .write_destination()
    }

    fn connection_address(self, key: u32, direction: u8) -> Rule {
        self.expression("ct", |m| {
            m.network(2, key);
            m.network(1, FIRST);
            m.bytes(3, &[direction]);
        })
    }

    fn write_destination(self) -> Rule {
        let at = addresses(self.family);
        self.expression("payload", |m| {
            m.network(5, FIRST);
            m.network(2, 1);
            m.network(3, at.destination);
            m.network(4, at.length);
            // The header has no checksum; that of the transport covers the addresses (`NFT_PAYLOAD_L4CSUM_PSEUDOHDR`).
            m.network(6, 0);
            m.network(7, 0);
            m.network(8, 1);
        })
    }

    /// The packet goes to an address of this host.
    pub(super) fn destination_is_this_host(self) -> Rule {
        // `NFT_FIB_RESULT_ADDRTYPE` of the destination is `RTN_LOCAL`.
        self.destination_type().compare(false, &2u32.to_ne_bytes())
    }

    fn destination_type(self) -> Rule {
        self.expression("fib", |m| {
            m.network(3, 2);
            m.network(2, 3);
            m.network(1, FIRST);
        })
    }

    /// What the map has for the type of the packet's destination becomes of the packet.
    pub(super) fn verdict_by_destination_type(self, map: &str) -> Rule {
        self.destination_type().lookup(map, false, Some(VERDICT))
    }

    /// The connection has one of the states of `mask`.
    pub(super) fn connection_state(self, mask: u32) -> Rule {
        self.connection(0, mask)
    }

    /// The connection's destination was translated.
    pub(super) fn translated(self) -> Rule {
        // `IPS_DST_NAT`.
        self.connection(2, 1 << 5)
    }

    fn connection(self, key: u32, mask: u32) -> Rule {
        self.expression("ct", |m| {
            m.network(2, key);
            m.network(1, FIRST);
        })
        .expression("bitwise", |m| {
            m.network(1, FIRST);
            m.network(2, FIRST);
            m.network(3, 4);
            m.nest(4, |m| m.bytes(DATA_VALUE, &mask.to_ne_bytes()));
            m.nest(5, |m| m.bytes(DATA_VALUE, &[0; 4]));
        })
        .compare(true, &[0; 4])
    }

    /// Translates the destination to what the map has for address, protocol and port.
    pub(super) fn translate_by_address_and_port(self, map: &str) -> Rule {
        let at = addresses(self.family);
        let after = at.length / 4;
        self.payload(1, at.destination, at.length, FIRST)
            .meta(16, word(after))
            .payload(2, 2, 2, word(after + 1))
            .lookup(map, false, Some(FIRST))
            .translate()
    }

    /// Translates the destination to what the map has for protocol and port.
    pub(super) fn translate_by_port(self, map: &str) -> Rule {
        self.meta(16, FIRST).payload(2, 2, 2, word(1)).lookup(map, false, Some(FIRST)).translate()
    }

    fn translate(self) -> Rule {
        let family = self.family;
        self.expression("nat", |m| {
            m.network(1, 1);
            m.network(2, family.number().into());
            m.network(3, FIRST);
            m.network(5, word(addresses(family).length / 4));
        })
    }

    /// The packet leaves with the address of the interface it leaves through.
    pub(super) fn masquerade(self) -> Rule {
        self.expression("masq", |_| ())
    }

    /// What becomes of the packet.
    pub(super) fn verdict(self, code: i32) -> Rule {
        self.expression("immediate", |m| {
            m.network(1, VERDICT);
            m.nest(2, |m| batch::verdict(m, code));
        })
    }
}

/// The key of an interface: its name in sixteen bytes.
pub(super) fn interface_key(name: &str) -> Vec<u8> {
    let mut key: Vec<u8> = name.bytes().take(15).collect();
    key.resize(16, 0);
    key
}

/// The key of an address and a port. Each part is padded to four bytes.
pub(super) fn address_port_key(address: IpAddr, protocol: u8, port: u16) -> Vec<u8> {
    [octets(address), port_key(protocol, port)].concat()
}

/// The key of a port.
pub(super) fn port_key(protocol: u8, port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    vec![protocol, 0, 0, 0, high, low, 0, 0]
}

/// An address and a port, as data.
pub(super) fn target(address: IpAddr, port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    [octets(address), vec![high, low, 0, 0]].concat()
}
