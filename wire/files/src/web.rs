//! Files of the web: any `http://` or `https://` URL, but not what only this machine's network can reach.
//!
//! Whoever submits a work names the URL, and does not own the machine that fetches it. So hosts whose addresses are
//! private, local or of this machine are refused, by name or by number, also after a redirection.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Url};
use rustls::RootCertStore;

use crate::{CONNECT_WITHIN, Files, FilesError, PATIENCE, SILENCE};

/// Redirections that are followed.
const REDIRECTS_MAX: usize = 5;

/// Which hosts files may come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hosts {
    /// Those that anybody can reach.
    Public,
    /// All, also this machine's own and those of its network.
    All,
}

impl Files {
    /// The web. Its files are downloaded by [`crate::Place::Url`].
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn web(hosts: Hosts) -> Result<Self, FilesError> {
        let mut roots = RootCertStore::empty();
        // One that cannot be read leaves the others; a machine without any fails at the first https.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls = wire_link::tls_config_of_roots(roots, &[b"http/1.1"]);
        let tls = tls.map_err(|error| FilesError::Tls(Box::new(error)))?;
        let builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(SILENCE)
            .referer(false)
            .redirect(Policy::custom(move |attempt| redirected(hosts, attempt)));
        let builder = match hosts {
            Hosts::All => builder,
            Hosts::Public => builder.dns_resolver(PublicNames),
        };
        Ok(Self {
            http: builder.build().map_err(FilesError::from_http)?,
            base: Url::parse("http://localhost").expect("a URL"),
            patience: PATIENCE,
            hosts,
        })
    }
}

fn redirected(hosts: Hosts, attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let came_by_tls = attempt
        .previous()
        .last()
        .is_some_and(|url| url.scheme() == "https");
    if attempt.previous().len() > REDIRECTS_MAX {
        attempt.error(format!("it was redirected more than {REDIRECTS_MAX} times"))
    } else if came_by_tls && attempt.url().scheme() != "https" {
        attempt.error("it was redirected from https to http")
    } else if let Err(problem) = check_host(hosts, attempt.url()) {
        attempt.error(problem)
    } else {
        attempt.follow()
    }
}

/// Refuses a host that is given as the number of an address that is not public; names are looked at when they are
/// resolved.
pub(crate) fn check_host(hosts: Hosts, url: &Url) -> Result<(), String> {
    if hosts == Hosts::All {
        return Ok(());
    }
    let host = url.host_str().unwrap_or_default();
    let number = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    match number {
        Ok(address) if !is_public(address) => Err(not_public(host)),
        _ => Ok(()),
    }
}

fn not_public(host: &str) -> String {
    format!("{host} is not a public host, and this worker fetches from public hosts only (POOL_FETCH)")
}

/// Resolves names to public addresses only.
struct PublicNames;

impl Resolve for PublicNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let name = name.as_str();
            let found = tokio::net::lookup_host((name, 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(Box::<dyn Error + Send + Sync>::from(not_public(name)));
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Anybody can reach it, as far as its number says (RFC 6890 and its registry, of which the standard library's own test
/// is not stable).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => is_public_v4(mapped),
            None => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        // Carriers' own, protocol assignments, benchmarks.
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a == 198 && (18..20).contains(&b));
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // Global unicast is 2000::/3; of it, documentation, 6to4 and Teredo lead to other addresses.
    (segments[0] & 0xe000) == 0x2000
        && !(segments[0] == 0x2001 && (segments[1] == 0x0db8 || segments[1] < 0x0200))
        && segments[0] != 0x2002
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_anybody_reaches_are_public() {
        for public in ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1"] {
            assert!(is_public(public.parse().expect(public)), "{public}");
        }
        for other in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "fe80::1",
            "fd00::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
        ] {
            assert!(!is_public(other.parse().expect(other)), "{other}");
        }
    }

    #[test]
    fn a_host_by_number_is_looked_at_in_every_spelling() {
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
        ] {
            let url = Url::parse(url).expect(url);
            assert!(check_host(Hosts::Public, &url).is_err(), "{url}");
            assert_eq!(check_host(Hosts::All, &url), Ok(()));
        }
        let url = Url::parse("https://1.1.1.1/").expect("a URL");
        assert_eq!(check_host(Hosts::Public, &url), Ok(()));
    }
}
