//! Networks and client addresses.

use std::net::{IpAddr, Ipv6Addr};

pub use ipnet::IpNet;

use super::invalid::Invalid;

/// Reads a network (CIDR) or a single address, in canonical form: host bits cleared, IPv4-mapped IPv6 as IPv4.
pub fn parse(text: &str) -> Result<IpNet, Invalid> {
    let net = match text.parse::<IpNet>() {
        Ok(net) => net,
        Err(_) => match text.parse::<IpAddr>() {
            Ok(ip) => IpNet::from(ip),
            Err(_) => {
                return Err(Invalid::new(
                    "is neither a network such as `192.0.2.0/24` or `2001:db8::/48` nor an address",
                ));
            }
        },
    };
    Ok(canonical_net(net.trunc()))
}

/// Reads a client's address: no port, no zone, IPv4-mapped IPv6 as IPv4.
pub fn parse_address(text: &str) -> Result<IpAddr, Invalid> {
    text.parse::<IpAddr>()
        .map(canonical)
        .map_err(|_| Invalid::new("is not an IPv4 or IPv6 address; give it without port and zone"))
}

/// The form in which addresses are compared: IPv4-mapped IPv6 (`::ffff:0:0/96`) is IPv4.
pub fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// Whether a network is narrow enough to fence a weak secret: at least /16 (IPv4) or /48 (IPv6).
pub fn is_narrow(net: &IpNet) -> bool {
    match net {
        IpNet::V4(net) => net.prefix_len() >= 16,
        IpNet::V6(net) => net.prefix_len() >= 48,
    }
}

/// Whether one of the networks contains the address; both canonical.
pub fn any_contains(nets: &[IpNet], ip: IpAddr) -> bool {
    nets.iter().any(|net| net.contains(&ip))
}

/// The client's address behind proxies. `peer` is who spoke to the proxy that asks; only if it is trusted is
/// `x-forwarded-for` walked from right to left, past trusted addresses, to the first that is not. An entry that is no
/// address ends the walk: nothing left of it can be believed, so the client is unknown.
///
/// The leftmost entry is whatever the client wrote (the bypass in several key services); it is never taken as such.
pub fn client_behind(
    peer: Option<IpAddr>,
    trusted: &[IpNet],
    forwarded_for: &[&[u8]],
) -> Option<IpAddr> {
    let mut client = canonical(peer?);
    if !any_contains(trusted, client) {
        return Some(client);
    }
    let entries = forwarded_for
        .iter()
        .rev()
        .flat_map(|line| line.rsplit(|b| *b == b','));
    for entry in entries {
        let entry = std::str::from_utf8(entry).ok()?.trim();
        client = canonical(entry.parse().ok()?);
        if !any_contains(trusted, client) {
            return Some(client);
        }
    }
    Some(client)
}

/// Most networks of a summary.
pub const MOST_NETWORKS: usize = 32;

/// Few networks that hold all of these: the fewest that hold nothing else, and where those are too many, neighbours as one,
/// no wider than [`is_narrow`]. False: some had to be left out.
pub fn summarise(nets: &[IpNet]) -> (Vec<IpNet>, bool) {
    let mut few = IpNet::aggregate(&nets.to_vec());
    few.sort();
    while few.len() > MOST_NETWORKS {
        let joined = few
            .windows(2)
            .filter_map(|pair| match pair {
                [one, next] => joined(one, next),
                _ => None,
            })
            .min_by_key(|net| u16::from(net.max_prefix_len() - net.prefix_len()));
        let Some(joined) = joined else {
            few.truncate(MOST_NETWORKS);
            return (few, false);
        };
        few.retain(|net| !joined.contains(net));
        few.push(joined);
        few.sort();
    }
    (few, true)
}

/// The narrowest network that holds both, where it is narrow enough.
fn joined(one: &IpNet, other: &IpNet) -> Option<IpNet> {
    let mut net = *one;
    while !net.contains(other) {
        net = net.supernet().filter(is_narrow)?;
    }
    Some(net)
}

fn canonical_net(net: IpNet) -> IpNet {
    const MAPPED: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0);
    if let IpNet::V6(v6) = net
        && v6.prefix_len() >= 96
        && let Some(v4) = v6.network().to_ipv4_mapped()
        && (v6.network().segments().get(..6) == MAPPED.segments().get(..6))
        && let Ok(net) = ipnet::Ipv4Net::new(v4, v6.prefix_len() - 96)
    {
        return IpNet::V4(net);
    }
    net
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|n| parse(n).unwrap()).collect()
    }

    fn client(peer: &str, trusted: &[&str], xff: &[&str]) -> Option<String> {
        let lines: Vec<&[u8]> = xff.iter().map(|l| l.as_bytes()).collect();
        client_behind(peer.parse().ok(), &nets(trusted), &lines).map(|ip| ip.to_string())
    }

    #[test]
    fn networks_are_canonical() {
        for (text, canonical) in [
            ("192.0.2.77/24", "192.0.2.0/24"),
            ("192.0.2.1", "192.0.2.1/32"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("::ffff:192.0.2.1/120", "192.0.2.0/24"),
            ("::1", "::1/128"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), canonical);
        }
        for text in [
            "",
            "192.0.2.0/33",
            "192.0.2",
            "fe80::1%eth0",
            "example.com",
            "192.0.2.0/24 ",
            "010.0.0.1",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn addresses_are_summarised_in_few_narrow_networks() {
        let shown = |list: &[&str]| {
            let (few, whole) = summarise(&nets(list));
            let few: Vec<_> = few.iter().map(ToString::to_string).collect();
            (few, whole)
        };
        assert_eq!(shown(&[]), (vec![], true));
        let exact = [
            "192.0.2.0",
            "192.0.2.1",
            "192.0.2.1",
            "192.0.2.7",
            "2001:db8::1",
        ];
        let few = ["192.0.2.0/31", "192.0.2.7/32", "2001:db8::1/128"].map(str::to_owned);
        assert_eq!(shown(&exact), (few.to_vec(), true));

        // Every second address of a network: 128 of them, which as they are would be 128 networks.
        let many: Vec<_> = (0..128).map(|n| format!("192.0.2.{}/32", n * 2)).collect();
        let many = nets(&many.iter().map(String::as_str).collect::<Vec<_>>());
        let (few, whole) = summarise(&many);
        assert!(whole && few.len() <= MOST_NETWORKS, "{few:?}");
        assert!(many.iter().all(|net| few.iter().any(|f| f.contains(net))));
        assert!(few.iter().all(is_narrow));

        // From all over the world there is no narrow network that holds two.
        let world: Vec<_> = (1..=100).map(|n| format!("{n}.7.7.7/32")).collect();
        let world = nets(&world.iter().map(String::as_str).collect::<Vec<_>>());
        let (few, whole) = summarise(&world);
        assert!(!whole && few.len() == MOST_NETWORKS);
    }

    #[test]
    fn forwarded_addresses_count_only_behind_a_trusted_peer() {
        let some = |ip: &str| Some(ip.to_owned());
        assert_eq!(
            client("203.0.113.9", &[], &["10.0.0.1"]),
            some("203.0.113.9")
        );
        assert_eq!(
            client("10.1.1.1", &["10.0.0.0/8"], &["6.6.6.6, 203.0.113.9"]),
            some("203.0.113.9")
        );
        assert_eq!(
            client(
                "10.1.1.1",
                &["10.0.0.0/8"],
                &["6.6.6.6, 203.0.113.9, 10.2.2.2"]
            ),
            some("203.0.113.9")
        );
        assert_eq!(
            client("10.1.1.1", &["10.0.0.0/8"], &["6.6.6.6", "203.0.113.9"]),
            some("203.0.113.9")
        );
        assert_eq!(
            client("::ffff:10.1.1.1", &["10.0.0.0/8"], &["::ffff:203.0.113.9"]),
            some("203.0.113.9")
        );
        assert_eq!(client("10.1.1.1", &["10.0.0.0/8"], &[]), some("10.1.1.1"));
        assert_eq!(
            client("10.1.1.1", &["10.0.0.0/8"], &["203.0.113.9, junk"]),
            None
        );
        assert_eq!(
            client("10.1.1.1", &["10.0.0.0/8"], &["203.0.113.9, 192.0.2.1:80"]),
            None
        );
        assert_eq!(
            client("10.1.1.1", &["10.0.0.0/8"], &["10.9.9.9, 10.2.2.2"]),
            some("10.9.9.9")
        );
        assert_eq!(
            client("not an address", &["10.0.0.0/8"], &["203.0.113.9"]),
            None
        );
    }
}
