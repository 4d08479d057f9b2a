//! What an image is called, and which ones the operator of a worker lets others run.
//!
//! Names are those of the [distribution reference grammar]: a registry if it looks like a host, a path, a tag, a
//! digest. `alpine` is `docker.io/library/alpine`, as Docker has it, so that a list that allows one allows the other.
//!
//! [distribution reference grammar]: https://github.com/distribution/reference/blob/main/reference.go

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Where an image is that names no registry.
const DEFAULT_REGISTRY: &str = "docker.io";

/// An image as a work asks for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ImageRef {
    /// Registry and path, as `docker.io/library/alpine`.
    name: String,
    tag: Option<String>,
    /// `sha256:…`
    digest: Option<String>,
}

/// Why a text names no image.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("`{text}` is no image: {problem}")]
pub struct NoImage {
    text: String,
    problem: &'static str,
}

impl FromStr for ImageRef {
    type Err = NoImage;

    fn from_str(text: &str) -> Result<Self, NoImage> {
        let refuse = |problem| NoImage {
            text: text.to_owned(),
            problem,
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err(refuse(
                "a digest is sha256: and 64 hexadecimal digits in small letters",
            ));
        }
        // A colon before a slash is that of a port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(refuse("a tag has letters, digits, `_`, `.` and `-`, at most 128"));
        }
        let name = whole_name(name);
        let (registry, path) = name.split_once('/').unwrap_or_default();
        if !is_registry(registry) || !path.split('/').all(is_part) || name.len() > 255 {
            return Err(refuse(
                "a name has parts of small letters and digits, with `.`, `_` or `-` between them",
            ));
        }
        Ok(Self {
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
            name,
        })
    }
}

/// With the registry and the folder that are left out for short.
fn whole_name(name: &str) -> String {
    match name.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => name.to_owned(),
        Some(_) => format!("{DEFAULT_REGISTRY}/{name}"),
        None => format!("{DEFAULT_REGISTRY}/library/{name}"),
    }
}

fn is_digest(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").unwrap_or_default();
    digits.len() == 64
        && digits
            .bytes()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_tag(text: &str) -> bool {
    let first = text.bytes().next();
    first.is_some_and(|first| first.is_ascii_alphanumeric() || first == b'_')
        && text.len() <= 128
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn is_registry(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "0"));
    let is_end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let is_label = |label: &str| {
        let mut bytes = label.bytes();
        is_end(label.bytes().next())
            && is_end(label.bytes().last())
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.split('.').all(is_label) && port.parse::<u16>().is_ok()
}

fn is_part(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let (first, last) = (text.bytes().next(), text.bytes().last());
    first.is_some_and(is_letter)
        && last.is_some_and(is_letter)
        && text.bytes().all(|byte| is_letter(byte) || b"._-".contains(&byte))
}

impl ImageRef {
    /// It names its bytes, and not only where they are.
    pub(super) fn is_pinned(&self) -> bool {
        self.digest.is_some()
    }

    /// Whoever allows this allows that, of the same name. A digest decides alone: Docker does not look at the tag beside
    /// it, so a tag that is allowed allows none.
    fn is_met_by(&self, asked: &Self) -> bool {
        match (&self.digest, &asked.digest) {
            (Some(allowed), asked) => asked.as_ref() == Some(allowed),
            (None, Some(_)) => self.tag.is_none(),
            (None, None) => self.tag.is_none() || self.tag() == asked.tag(),
        }
    }

    fn tag(&self) -> &str {
        self.tag.as_deref().unwrap_or("latest")
    }
}

/// As a Docker Engine is asked for it. With a digest the tag says nothing.
impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.digest {
            Some(digest) => write!(f, "{}@{digest}", self.name),
            None => write!(f, "{}:{}", self.name, self.tag()),
        }
    }
}

/// The images that may run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ImageAllow {
    rules: Vec<Rule>,
}

/// One entry of the list.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Rule {
    /// `*`
    All,
    /// `ghcr.io/org/*`: what is below, with the slash.
    Below(String),
    /// A name, and if they are given the tag or the digest.
    Image(ImageRef),
}

impl ImageAllow {
    /// Reads a list of images: a name allows each tag of it, with a tag or a digest only that; a registry or a folder in
    /// it with `/*` allows all below; `*` allows all. Empty entries are skipped.
    ///
    /// # Errors
    /// An entry that is no image.
    pub fn new<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, NoImage> {
        let entries = entries
            .into_iter()
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        let rule = |entry: &str| match entry.strip_suffix("/*") {
            _ if entry == "*" => Ok(Rule::All),
            // A registry alone has no name to be made whole.
            Some(folder) if is_registry(folder) && folder.contains(['.', ':']) => {
                Ok(Rule::Below(format!("{folder}/")))
            }
            Some(folder) => {
                let ImageRef { name, .. } = format!("{folder}/x").parse()?;
                Ok(Rule::Below(name[..name.len() - 1].to_owned()))
            }
            None => entry.parse().map(Rule::Image),
        };
        let rules = entries.map(rule).collect::<Result<_, _>>()?;
        Ok(Self { rules })
    }

    /// Nothing may run.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Everything may run.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.rules.contains(&Rule::All)
    }

    pub(super) fn allows(&self, image: &ImageRef) -> bool {
        self.rules.iter().any(|rule| match rule {
            Rule::All => true,
            Rule::Below(folder) => image.name.starts_with(folder),
            Rule::Image(allowed) => allowed.name == image.name && allowed.is_met_by(image),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_short_name_is_made_whole_as_docker_does() {
        for (text, whole) in [
            ("alpine", "docker.io/library/alpine:latest"),
            ("alpine:3.20", "docker.io/library/alpine:3.20"),
            ("iexec/face:1", "docker.io/iexec/face:1"),
            ("docker.io/library/alpine", "docker.io/library/alpine:latest"),
            ("ghcr.io/a/b/c:x", "ghcr.io/a/b/c:x"),
            ("localhost:5000/a", "localhost:5000/a:latest"),
            ("localhost/a", "localhost/a:latest"),
        ] {
            let image: ImageRef = text.parse().expect(text);
            assert_eq!(image.to_string(), whole);
            assert!(!image.is_pinned());
        }
        let pinned: ImageRef = format!("alpine:3.20@{DIGEST}").parse().expect("both");
        assert_eq!(pinned.to_string(), format!("docker.io/library/alpine@{DIGEST}"));
        assert!(pinned.is_pinned());
    }

    #[test]
    fn what_is_no_image_is_refused() {
        for text in [
            "",
            ":",
            "Alpine",
            "a//b",
            "/a",
            "a/",
            "../a",
            "a:",
            "a:b c",
            "a@sha256:00",
            "a@md5:00",
            "-a",
            "a b",
            "host:port/a",
            "a\n",
        ] {
            text.parse::<ImageRef>().expect_err(text);
        }
    }

    #[test]
    fn a_list_allows_what_it_names_and_no_more() {
        let pinned = format!("alpine@{DIGEST}");
        let both = format!("alpine:3.20@{DIGEST}");
        for (rule, allowed, refused) in [
            (
                "alpine",
                &["alpine", "alpine:3", &pinned][..],
                &["alpine2", "evil/alpine", "ghcr.io/library/alpine"][..],
            ),
            // With a digest a tag says nothing: that may be of any other tag of the name.
            (
                "alpine:3.20",
                &["alpine:3.20"],
                &["alpine", "alpine:3", &pinned, &both],
            ),
            ("alpine:latest", &["alpine", "alpine:latest"], &[&pinned]),
            (&pinned, &[&pinned, &both], &["alpine", "alpine:3.20"]),
            (&both, &[&pinned, &both], &["alpine", "alpine:3.20"]),
            (
                "ghcr.io/org/*",
                &["ghcr.io/org/a", "ghcr.io/org/b/c:1"],
                &["ghcr.io/organic/a", "ghcr.io/org2/a", "org/a"],
            ),
            (
                "ghcr.io/*",
                &["ghcr.io/org/a"],
                &["ghcr.io.evil.com/org/a", "alpine"],
            ),
            ("iexec/*", &["iexec/face"], &["iexecx/face", "ghcr.io/iexec/face"]),
            ("*", &["alpine", "ghcr.io/a/b"], &[]),
            ("", &[], &["alpine"]),
        ] {
            let allow = ImageAllow::new([rule]).expect(rule);
            let allows = |text: &&str| allow.allows(&text.parse().expect("an image"));
            assert!(allowed.iter().all(allows), "{rule} allows {allowed:?}");
            assert!(!refused.iter().any(allows), "{rule} refuses {refused:?}");
        }
        for wrong in ["Alpine", "a b", "/*", "a:b:c", "-x/*"] {
            ImageAllow::new([wrong]).expect_err(wrong);
        }
    }
}
