//! The address of the client behind a request, and the proxies that hide it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use super::notices::Notices;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Networks from which no client on the internet comes, but a proxy beside the server does.
const PRIVATE: [IpNet; 9] = [
    IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
    IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8),
    IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), 12),
    IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), 16),
    IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16),
    IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(100, 64, 0, 0)), 10),
    IpNet::new_assert(IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
    IpNet::new_assert(IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)), 7),
    IpNet::new_assert(IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10),
];

/// Networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
#[derive(Debug)]
pub struct Proxies {
    trusted: Vec<IpNet>,
    notices: Notices,
}

/// Situation in which many clients share one limit. The log states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Situation {
    /// A trusted proxy sends no `X-Forwarded-For`.
    NoHeader,
    /// The header has addresses of trusted proxies alone.
    OnlyProxies,
    /// A trusted proxy wrote something else than an address.
    NoAddress,
    /// A private address that is not trusted sends the header; its network.
    Unbelieved(IpNet),
}

impl Proxies {
    /// Believes these networks.
    #[must_use]
    pub fn new(trusted: Vec<IpNet>) -> Self {
        Self { trusted, notices: Notices::new() }
    }

    /// The client's address: the peer of the connection or, where that is a trusted proxy, the
    /// right-most address of `X-Forwarded-For` that is not one. What stands further left was written
    /// by the client and proves nothing. `None` where a trusted proxy hides the client.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            let private = PRIVATE.iter().find(|network| network.contains(&peer));
            if let Some(network) = private.filter(|_| headers.contains_key(FORWARDED_FOR)) {
                self.notices.log(Situation::Unbelieved(*network));
            }
            return Some(peer);
        }
        self.forwarded(headers).inspect_err(|situation| self.notices.log(*situation)).ok()
    }

    /// Returns whether a trusted proxy says that the client came by TLS. The first value is about the
    /// proxy that the client sees.
    pub fn has_tls(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        let scheme = headers.get(FORWARDED_PROTO).and_then(|value| value.to_str().ok());
        let first = scheme.and_then(|schemes| schemes.split(',').next()).unwrap_or_default();
        self.trusts(peer.to_canonical()) && first.trim().eq_ignore_ascii_case("https")
    }

    fn forwarded(&self, headers: &HeaderMap) -> Result<IpAddr, Situation> {
        let mut situation = Situation::NoHeader;
        let values = headers.get_all(FORWARDED_FOR).iter().rev();
        for hop in values.flat_map(|value| value.to_str().unwrap_or_default().rsplit(',')) {
            // Addresses left of it may be the client's own invention.
            let address = address(hop.trim()).ok_or(Situation::NoAddress)?;
            if !self.trusts(address) {
                return Ok(address);
            }
            situation = Situation::OnlyProxies;
        }
        Err(situation)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }
}

/// An address, with or without a port.
fn address(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    bare.parse::<IpAddr>()
        .or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip()))
        .ok()
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(forwarded: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        headers
    }

    fn proxies() -> Proxies {
        Proxies::new(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()])
    }

    /// The client's address; `hidden` where it is.
    fn seen(peer: &str, forwarded: &[&str]) -> String {
        let client = proxies().client(peer.parse().unwrap(), &headers(forwarded));
        client.map_or_else(|| "hidden".to_owned(), |address| address.to_string())
    }

    #[test]
    fn a_stranger_is_not_believed() {
        for forwarded in [&[][..], &["198.51.100.7"], &["10.1.1.1"], &["nonsense"]] {
            assert_eq!(seen("192.0.2.1", forwarded), "192.0.2.1");
            assert_eq!(seen("192.168.0.1", forwarded), "192.168.0.1");
            assert_eq!(seen("::ffff:127.0.0.1", forwarded), "127.0.0.1");
        }
    }

    #[test]
    fn the_right_most_address_that_is_no_proxy_is_the_client() {
        assert_eq!(seen("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(seen("10.0.0.1", &["6.6.6.6, 198.51.100.7, 10.2.3.4"]), "198.51.100.7");
        assert_eq!(seen("10.0.0.1", &["6.6.6.6", "198.51.100.7,10.2.3.4"]), "198.51.100.7");
        assert_eq!(seen("10.0.0.1", &["nonsense, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(seen("::ffff:10.0.0.1", &["198.51.100.7:4711"]), "198.51.100.7");
        assert_eq!(seen("fd00::1", &["[2001:db8::7]:443"]), "2001:db8::7");
        assert_eq!(seen("fd00::1", &["[2001:db8::7]"]), "2001:db8::7");
        assert_eq!(seen("10.0.0.1", &["::ffff:198.51.100.7"]), "198.51.100.7");
        // A client of the local network that is not trusted is a client.
        assert_eq!(seen("10.0.0.1", &["192.168.0.9"]), "192.168.0.9");
    }

    #[test]
    fn a_trusted_proxy_says_whether_there_is_tls() {
        for (peer, schemes, tls) in [
            ("10.0.0.1", "https", true),
            ("::ffff:10.0.0.1", "HTTPS , http", true),
            ("10.0.0.1", "http,https", false),
            ("10.0.0.1", "", false),
            ("192.0.2.1", "https", false),
        ] {
            let headers = [(FORWARDED_PROTO, schemes.parse().unwrap())].into_iter().collect();
            assert_eq!(proxies().has_tls(peer.parse().unwrap(), &headers), tls, "{schemes}");
        }
        assert!(!proxies().has_tls("10.0.0.1".parse().unwrap(), &HeaderMap::new()));
    }

    #[test]
    fn a_proxy_without_a_usable_header_hides_its_clients() {
        use Situation::{NoAddress, NoHeader, OnlyProxies};
        let cases: [(&[&str], Situation); 10] = [
            (&[], NoHeader),
            (&["10.1.1.1"], OnlyProxies),
            (&["10.1.1.1, 10.2.2.2"], OnlyProxies),
            (&["fd00::2", "::ffff:10.2.2.2"], OnlyProxies),
            (&[""], NoAddress),
            (&["unknown"], NoAddress),
            (&["_hidden, 10.2.3.4"], NoAddress),
            (&["198.51.100.7, nonsense, 10.2.3.4"], NoAddress),
            (&["198.51.100.7, "], NoAddress),
            (&["198.51.100.7", "ü"], NoAddress),
        ];
        for (forwarded, situation) in cases {
            assert_eq!(seen("10.0.0.1", forwarded), "hidden", "{forwarded:?}");
            assert_eq!(proxies().forwarded(&headers(forwarded)), Err(situation), "{forwarded:?}");
        }
    }
}
