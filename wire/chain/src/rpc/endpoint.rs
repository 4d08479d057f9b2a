//! Where a node is.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;
use thiserror::Error;

/// The address of a node, `http://…` or `https://…`.
///
/// It may have credentials: before the host, or a key in its path, as providers give them. Printed, it is without all of
/// that.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

/// A text is no address of a node.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("this is no address of an Ethereum node: it is like http://localhost:8545, and {0}")]
pub struct EndpointError(&'static str);

impl Endpoint {
    pub(crate) const fn url(&self) -> &Url {
        &self.0
    }

    /// Several, between commas or spaces.
    ///
    /// # Errors
    /// One of them is none, or there is none at all.
    pub fn list(text: &str) -> Result<Vec<Self>, EndpointError> {
        let parts = text.split([',', ' ']).filter(|part| !part.is_empty());
        let all: Vec<Self> = parts.map(str::parse).collect::<Result<_, _>>()?;
        if all.is_empty() {
            return Err(EndpointError("this is empty"));
        }
        Ok(all)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// Takes also what was written for `sed`, as the predecessor's files have it: `http:\/\/localhost:8545`.
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let plain = text.trim().replace("\\/", "/");
        // What the parser says may have the text in it, and the text may have a password.
        let url =
            Url::parse(&plain).map_err(|_| EndpointError("this does not begin with http:// or https://"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(EndpointError("nodes are asked over http:// and https:// alone"));
        }
        if !url.has_host() {
            return Err(EndpointError("this names no host"));
        }
        Ok(Self(url))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = &self.0;
        write!(f, "{}://{}", url.scheme(), url.host_str().unwrap_or_default())?;
        if let Some(port) = url.port() {
            write!(f, ":{port}")?;
        }
        let more = url.path().len() > 1 || url.query().is_some();
        f.write_str(if more { "/…" } else { "" })
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        text.parse().expect(text)
    }

    #[test]
    fn an_address_may_be_written_for_sed() {
        assert_eq!(endpoint(r"http:\/\/host:8545"), endpoint("http://host:8545"));
        assert_eq!(
            endpoint(r" https:\/\/host\/v3\/key "),
            endpoint("https://host/v3/key")
        );
    }

    #[test]
    fn credentials_are_never_printed() {
        for (text, printed) in [
            ("http://localhost:8545", "http://localhost:8545"),
            ("https://user:secret@host:1/", "https://host:1"),
            ("https://host/v3/secret", "https://host/…"),
            ("https://host?key=secret", "https://host/…"),
        ] {
            assert_eq!(endpoint(text).to_string(), printed);
            assert_eq!(format!("{:?}", endpoint(text)), printed);
        }
        for wrong in [
            "secret",
            "ws://user:secret@host",
            "http://:secret@",
            "file:///secret",
            "",
        ] {
            let error = wrong.parse::<Endpoint>().expect_err(wrong).to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn several_stand_between_commas() {
        let several = Endpoint::list(r"http:\/\/a, https://b,").expect("two");
        assert_eq!(several, [endpoint("http://a"), endpoint("https://b")]);
        assert!(Endpoint::list(" ,").is_err());
        assert!(Endpoint::list("http://a,b").is_err());
    }
}
