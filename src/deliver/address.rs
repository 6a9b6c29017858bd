//! Which addresses POSTbacks may go to. Whoever sets a URL must not make the service talk to its own network.
//!
//! The ranges are those of the IANA's registries of special-purpose addresses
//! (<https://www.iana.org/assignments/iana-ipv4-special-registry>, <https://www.iana.org/assignments/iana-ipv6-special-registry>),
//! and where clouds have services for their machines.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::domain::network::{self, IpNet};

/// Networks that an administrator of the process allows although they are not of the public Internet.
#[derive(Debug, Clone, Default)]
pub struct Allowed(Vec<IpNet>);

impl Allowed {
    /// These networks, canonical.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether a POSTback may go there. Without TLS only to loopback, where that is allowed.
    pub fn admits(&self, ip: IpAddr, tls: bool) -> bool {
        let ip = ip.to_canonical();
        let allowed = network::any_contains(&self.0, ip);
        if !tls {
            return allowed && ip.is_loopback();
        }
        allowed || is_public(ip)
    }

    /// Whether a loopback address is among them: then `http` makes sense.
    pub fn any_loopback(&self) -> bool {
        self.0.iter().any(|net| net.network().is_loopback())
    }
}

/// Whether an address is one of the public Internet: what is not known to be is not.
fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u32) -> (u32, u32) {
    (Ipv4Addr::new(a, b, c, d).to_bits(), prefix)
}

/// Everything else of IPv4.
const SPECIAL_V4: [(u32, u32); 17] = [
    v4(0, 0, 0, 0, 8),        // this network
    v4(10, 0, 0, 0, 8),       // private
    v4(100, 64, 0, 0, 10),    // carriers' NAT; 100.100.100.200 is a cloud's metadata
    v4(127, 0, 0, 0, 8),      // loopback
    v4(168, 63, 129, 16, 32), // a cloud's own services, on a public address
    v4(169, 254, 0, 0, 16),   // link-local; 169.254.169.254 is most clouds' metadata
    v4(172, 16, 0, 0, 12),    // private
    v4(192, 0, 0, 0, 24),     // protocols; 192.0.0.192 is a cloud's metadata
    v4(192, 0, 2, 0, 24),     // documentation
    v4(192, 31, 196, 0, 24),  // AS112
    v4(192, 88, 99, 0, 24),   // 6to4 relays
    v4(192, 168, 0, 0, 16),   // private
    v4(192, 175, 48, 0, 24),  // AS112
    v4(198, 18, 0, 0, 15),    // benchmarks
    v4(198, 51, 100, 0, 24),  // documentation
    v4(203, 0, 113, 0, 24),   // documentation
    v4(224, 0, 0, 0, 3),      // multicast, reserved, broadcast
];

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let within = |&(net, prefix): &(u32, u32)| (ip.to_bits() ^ net) >> (32 - prefix) == 0;
    !SPECIAL_V4.iter().any(within)
}

const fn v6(text: [u16; 8], prefix: u32) -> (u128, u32) {
    let [a, b, c, d, e, f, g, h] = text;
    (Ipv6Addr::new(a, b, c, d, e, f, g, h).to_bits(), prefix)
}

/// What is not public within global unicast, `2000::/3`. All outside of it is not either: loopback, IPv4-compatible and
/// -mapped addresses, NAT64, discard, unique local (metadata of clouds among them), link-local, multicast.
const SPECIAL_V6: [(u128, u32); 4] = [
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), // protocols: Teredo, ORCHID, benchmarks
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), // documentation
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), // 6to4: any IPv4 address is in it
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), // documentation
];

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let within = |&(net, prefix): &(u128, u32)| (ip.to_bits() ^ net) >> (128 - prefix) == 0;
    within(&v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3)) && !SPECIAL_V6.iter().any(within)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(text: &str) -> bool {
        Allowed::default().admits(text.parse().unwrap(), true)
    }

    #[test]
    fn the_public_internet_is_reached() {
        for ip in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "223.255.255.255",
            "168.63.129.15",
            "2606:4700:4700::1111",
            "2a00:1450:4001:81b::200e",
            "2001:200::1",
            "::ffff:1.1.1.1",
        ] {
            assert!(public(ip), "{ip}");
        }
    }

    #[test]
    fn nothing_else_is() {
        for ip in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.1.2.3",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:0:7f00:1::",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!public(ip), "{ip}");
        }
    }

    #[test]
    fn an_allowed_network_is_reached_and_without_tls_loopback_alone() {
        let nets = ["10.1.0.0/16", "127.0.0.0/8"].map(|n| network::parse(n).unwrap());
        let allowed = Allowed::new(nets.to_vec());
        let admits = |ip: &str, tls| allowed.admits(ip.parse().unwrap(), tls);
        assert!(admits("10.1.2.3", true) && admits("::ffff:10.1.2.3", true));
        assert!(!admits("10.2.0.1", true));
        assert!(admits("127.0.0.1", true) && admits("127.0.0.1", false));
        assert!(!admits("10.1.2.3", false) && !admits("1.1.1.1", false));
        assert!(allowed.any_loopback() && !Allowed::default().any_loopback());
        assert!(!Allowed::default().admits("127.0.0.1".parse().unwrap(), false));
    }
}
