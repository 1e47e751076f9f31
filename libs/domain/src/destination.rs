//! Which addresses events may be delivered to: one rule for creation, test and delivery.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use url::{Host, Url};

use crate::Refusal;

/// What an operator opened of what is refused by default: plain `http`, and addresses that are not public.
#[derive(Clone, Debug, Default)]
pub struct DestinationPolicy {
    /// Whether `http` URLs are allowed.
    pub allow_http: bool,
    /// Networks that are allowed although they are not public, such as `127.0.0.0/8`.
    pub allow_cidrs: Vec<IpNet>,
}

impl DestinationPolicy {
    /// Checks what a URL alone tells: its scheme, and its host where that is an address. A name is checked
    /// when it is connected to, on the addresses it resolves to then.
    ///
    /// # Errors
    /// A [`Refusal`] of `field`.
    pub fn check_url(&self, field: &str, url: &Url) -> Result<(), Refusal> {
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            "http" => {
                return Err(Refusal::invalid(
                    field,
                    "must be an `https` URL; the operator can allow `http` with `delivery.allow_http`",
                ));
            }
            _ => return Err(Refusal::invalid(field, "must be an `https` URL")),
        }
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(_)) => return Ok(()),
            None => return Err(Refusal::invalid(field, "must have a host")),
        };
        if self.allows(address) {
            return Ok(());
        }
        Err(Refusal::invalid(
            field,
            format!(
                "points to {address}, which is not a public address; the operator can allow its network with `delivery.allow_cidrs`"
            ),
        ))
    }

    /// Tells whether events may go to `address`: public ones and those the operator allowed. An IPv6 address that
    /// carries an IPv4 one (mapped, NAT64, 6to4) is judged by that.
    pub fn allows(&self, address: IpAddr) -> bool {
        let inner = carried_v4(address).map_or(address, IpAddr::V4);
        let opened = |address: IpAddr| self.allow_cidrs.iter().any(|cidr| cidr.contains(&address));
        opened(address) || opened(inner) || is_public(inner)
    }
}

/// The IPv4 address inside: IPv4-mapped and -compatible, NAT64 `64:ff9b::/96` (RFC 6052), 6to4 `2002::/16` (RFC 3056).
fn carried_v4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    if let Some(mapped) = v6.to_ipv4_mapped() {
        return Some(mapped);
    }
    let from = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(from(high, low)),
        [0x2002, high, low, ..] => Some(from(high, low)),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some(from(high, low)),
        _ => None,
    }
}

/// Public: in none of the special-purpose blocks of IANA's registries (RFC 6890 and its updates).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(a == 0
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local() // cloud metadata is at 169.254.169.254
        || (a == 100 && (64..128).contains(&b)) // carrier-grade NAT, RFC 6598
        || (a == 192 && b == 0 && c == 0) // IETF protocol assignments
        || address.is_documentation()
        || (a == 192 && b == 88 && c == 99) // 6to4 relay anycast
        || (a == 198 && (b == 18 || b == 19)) // benchmarking, RFC 2544
        || a >= 224) // multicast, reserved, broadcast
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // Only 2000::/3 is global unicast; of it, documentation and the protocol assignments are not.
    (segments[0] & 0xe000) == 0x2000
        && !(segments[0] == 0x2001 && segments[1] < 0x0200) // 2001::/23, Teredo and ORCHID included
        && !(segments[0] == 0x2001 && segments[1] == 0x0db8)
        && !(segments[0] == 0x3fff && segments[1] < 0x1000) // documentation, RFC 9637
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_not_public() {
        let policy = DestinationPolicy::default();
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.168.0.1",
            "192.0.0.1",
            "198.18.0.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
        ] {
            assert!(!policy.allows(address.parse().expect(address)), "{address}");
        }
        for address in
            ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::101:101"]
        {
            assert!(policy.allows(address.parse().expect(address)), "{address}");
        }
    }

    #[test]
    fn what_the_operator_opened_is_open() {
        let policy = DestinationPolicy {
            allow_http: false,
            allow_cidrs: vec!["127.0.0.0/8".parse().expect("valid")],
        };
        assert!(policy.allows("127.0.0.1".parse().expect("valid")));
        assert!(policy.allows("::ffff:127.0.0.1".parse().expect("valid")));
        assert!(!policy.allows("10.0.0.1".parse().expect("valid")));
    }

    #[test]
    fn a_url_is_checked_for_scheme_and_literal() {
        let policy = DestinationPolicy::default();
        let check =
            |url: &str| policy.check_url("destination", &Url::parse(url).expect(url)).is_ok();
        assert!(check("https://example.com/x") && check("https://1.1.1.1/"));
        // The parser turns every spelling of an address into the address.
        for url in [
            "http://example.com/",
            "https://127.0.0.1/",
            "https://0x7f.1/",
            "https://2130706433/",
            "https://[::1]/",
            "https://169.254.169.254/latest",
        ] {
            assert!(!check(url), "{url}");
        }
    }
}
