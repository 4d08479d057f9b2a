//! Who somebody is, which the process knows, and what they may do, which is decided here.

use std::net::IpAddr;

use axum::http::StatusCode;
use wire_protocol::file::{Claims, Digest, Source};
use wire_protocol::units::Millis;

use super::Problem;
use crate::store::{By, NewUpload, Store};

/// Knows accounts and grants.
pub trait Authority: Send + Sync + 'static {
    /// Who sends `Authorization: authorization` from this address.
    ///
    /// # Errors
    /// Nobody who is known.
    fn who(&self, from: IpAddr, authorization: Option<&str>) -> Result<Who, Denied>;
}

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Who {
    /// An attempt at a work, which may do what its grant says.
    Grant(Claims),
    /// An account, which has files.
    Account {
        /// Its login.
        owner: String,
        /// It may also read, list and remove the files of others.
        all: bool,
    },
}

/// Why nobody is let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Denied {
    /// Nothing was said.
    Unknown,
    /// It is wrong, or over; the text says which.
    Wrong(String),
    /// Too many wrong passwords came from there.
    Busy(Millis),
}

/// Content that somebody may read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Readable {
    pub(super) digest: Digest,
    pub(super) bytes: u64,
    /// It was asked for by its hash: the answer is the same for ever.
    pub(super) fixed: bool,
}

impl Who {
    /// What `source`, a name or `sha256:…`, is to them.
    pub(super) fn readable(
        &self,
        store: &Store,
        source: &str,
        of: Option<&str>,
    ) -> Result<Readable, Problem> {
        let source = if source.starts_with(Digest::PREFIX) {
            source.parse().map(Source::Content)
        } else {
            wire_protocol::file::check_name(source).map(|()| Source::Name(source.to_owned()))
        };
        let source = source.map_err(|error| Problem::from(error).at("name"))?;
        if let Self::Grant(claims) = self
            && !claims.reads.contains(&source)
        {
            let problem = Problem::forbidden(&format!(
                "the grant of work {} does not list {source}",
                claims.token.work
            ));
            return Err(
                problem.cure("only the files that the work's template names can be read under its lease")
            );
        }
        let anybodys = matches!(self, Self::Account { all: true, .. }) && of.is_none();
        let owner = self.owner(of)?;
        let found = match &source {
            Source::Content(digest) if anybodys => {
                store.content_of_anybody(*digest).map(|bytes| (*digest, bytes))
            }
            Source::Content(digest) => store.content(owner, *digest).map(|bytes| (*digest, bytes)),
            Source::Name(name) => store.file(owner, name).map(|file| (file.digest, file.bytes)),
            Source::Url { .. } => None,
        };
        let (digest, bytes) = found.ok_or_else(|| Problem::no_file(&source.to_string(), owner))?;
        Ok(Readable {
            digest,
            bytes,
            fixed: matches!(source, Source::Content(_)),
        })
    }

    /// Whose files they ask for: `of`, or their own.
    pub(super) fn owner<'a>(&'a self, of: Option<&'a str>) -> Result<&'a str, Problem> {
        let (own, all) = match self {
            Self::Grant(claims) => (&*claims.owner, false),
            Self::Account { owner, all } => (&**owner, *all),
        };
        match of {
            Some(of) if of != own && !all => {
                let problem = Problem::forbidden(&format!("the files of {of} are not yours"));
                Err(problem
                    .at("owner")
                    .cure("leave `owner` away, or log in as an administrator"))
            }
            of => Ok(of.unwrap_or(own)),
        }
    }

    /// The account that they are; a grant is none.
    pub(super) fn account(&self) -> Result<(), Problem> {
        match self {
            Self::Account { .. } => Ok(()),
            Self::Grant(_) => Err(Problem::forbidden("a grant neither lists nor removes files")
                .cure("log in with the login and password of an account")),
        }
    }

    /// Who they are as somebody who uploads.
    pub(super) fn by(&self) -> By {
        match self {
            Self::Grant(claims) => By::Attempt {
                owner: claims.owner.clone(),
                token: claims.token,
            },
            Self::Account { owner, .. } => By::User { owner: owner.clone() },
        }
    }

    /// An upload of a file that they call so.
    pub(super) fn upload(&self, name: &str, digest: Option<Digest>) -> Result<NewUpload, Problem> {
        let (name, bytes_max) = match self {
            Self::Grant(claims) if claims.write_max.0 == 0 => {
                return Err(Problem::forbidden("this grant lets nothing be written")
                    .cure("name the outputs in the work's template"));
            }
            Self::Grant(claims) => (claims.output_name(name), claims.write_max.0),
            Self::Account { .. } => (name.to_owned(), u64::MAX),
        };
        wire_protocol::file::check_name(&name).map_err(|error| Problem::from(error).at("name"))?;
        Ok(NewUpload {
            by: self.by(),
            name,
            digest,
            bytes_max,
        })
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let unknown = |detail: &str| {
            Self::new(StatusCode::UNAUTHORIZED, "who-are-you", "nobody who is known")
                .detail(detail)
                .header("www-authenticate", "Basic realm=\"pool\", charset=\"UTF-8\", Bearer realm=\"pool\"")
                .cure("send `Authorization: Basic` with login and password, or `Bearer` with a grant of the engine")
        };
        match denied {
            Denied::Unknown => unknown("nobody is told files without saying who they are"),
            Denied::Wrong(detail) => unknown(&detail),
            Denied::Busy(wait) => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "guesses",
                "too many wrong passwords",
            )
            .detail("too many wrong passwords came from this address")
            .retry_after(wait)
            .cure("wait, and check login and password"),
        }
    }
}
