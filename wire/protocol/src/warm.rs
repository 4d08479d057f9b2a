//! Warm keys: what a worker has already of what works need, image and input files, each as one number.
//!
//! A key is a hash of a name, so two things may have the same: it decides which of several workers is asked first and
//! nothing else. A worker presents what its image store and its file cache hold when it joins; the engine adds what it saw
//! the worker succeed with.

use crate::file::{Digest, Source};
use crate::ids::TenantId;
use crate::template::{Input, WorkTemplate};

/// FNV-1a, 64 bits (Fowler, Noll and Vo, <http://www.isthe.com/chongo/tech/comp/fnv/>): short names, no adversary who
/// could win more than a place in a queue of equals.
fn hash(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.iter());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Of an image, by any of its names: Docker Hub's own prefix and the tag `latest` make no difference, and where there is a
/// digest the tag makes none.
#[must_use]
pub fn image(name: &str) -> u64 {
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    let name = name.strip_prefix("library/").unwrap_or(name);
    let (name, digest) = match name.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (name, None),
    };
    let (repository, tag) = match name.rsplit_once(':') {
        // A colon before a slash is that of a registry's port.
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (name, "latest"),
    };
    hash(&[
        b"image:",
        repository.as_bytes(),
        b"@",
        digest.unwrap_or(tag).as_bytes(),
    ])
}

/// Of a file, by its content.
#[must_use]
pub fn content(digest: &Digest) -> u64 {
    hash(&[b"content:", &digest.0])
}

/// All that a worker needs for any work of this template, whatever its row: its image, and files whose source has no
/// placeholder. Names are those of the tenant's files, and are left out where it is not known. At most one more than
/// [`crate::limits::FILES_PER_WORK_MAX`] and the standard input; none for works that need neither.
#[must_use]
pub fn keys(template: &WorkTemplate, tenant: Option<TenantId>) -> Vec<u64> {
    let stdin = match &template.input {
        Input::File(source) => Some(source),
        _ => None,
    };
    let sources = template.files.iter().map(|file| &file.source).chain(stdin);
    let files = sources
        .filter(|source| !source.contains('{'))
        .filter_map(|source| {
            Some(match Source::parse(source).ok()? {
                Source::Content(digest)
                | Source::Url {
                    digest: Some(digest), ..
                } => content(&digest),
                Source::Name(name) => hash(&[b"name:", &tenant?.0.to_le_bytes(), name.as_bytes()]),
                Source::Url { url, digest: None } => hash(&[b"url:", url.as_bytes()]),
            })
        });
    let image = template.app.strip_prefix("docker:").map(image);
    let mut keys: Vec<u64> = image.into_iter().chain(files).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::InputFile;

    #[test]
    fn an_image_has_one_key_under_all_its_names() {
        for name in [
            "alpine",
            "alpine:latest",
            "docker.io/library/alpine",
            "library/alpine",
        ] {
            assert_eq!(image(name), image("alpine"), "{name}");
        }
        let pinned = image("ghcr.io:443/org/app:1@sha256:00");
        assert_eq!(pinned, image("ghcr.io:443/org/app@sha256:00"));
        for other in ["alpine:3", "ghcr.io/alpine", "ghcr.io:443/org/app:1"] {
            assert!(
                image(other) != image("alpine") && image(other) != pinned,
                "{other}"
            );
        }
    }

    #[test]
    fn keys_are_of_what_all_works_of_a_template_need() {
        let file = |source: &str| InputFile {
            source: source.to_owned(),
            ..InputFile::default()
        };
        let digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        let mut template = WorkTemplate {
            app: "process".to_owned(),
            columns: vec!["n".to_owned()],
            ..WorkTemplate::default()
        };
        assert_eq!(keys(&template, Some(TenantId(1))), [] as [u64; 0]);
        template.files = vec![file(&format!("sha256:{digest}")), file("scenes/{n}")];
        let by_content = keys(&template, Some(TenantId(1)));
        assert_eq!(by_content, [content(&Digest::from_hex(digest).unwrap())]);
        template.files = vec![file(&format!("https://example.org/a#sha256={digest}"))];
        assert_eq!(
            keys(&template, Some(TenantId(2))),
            by_content,
            "it is the same content"
        );
        template.files = vec![file("scene")];
        assert_ne!(
            keys(&template, Some(TenantId(1))),
            keys(&template, Some(TenantId(2)))
        );
        assert_eq!(keys(&template, None), [] as [u64; 0]);
        template.app = "docker:alpine".to_owned();
        assert_eq!(keys(&template, Some(TenantId(1))).len(), 2);
    }
}
