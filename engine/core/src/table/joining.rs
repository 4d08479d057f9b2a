//! Enrolment tokens, and what is known of each worker beside what it offers.

use std::collections::BTreeMap;

use wire_protocol::ids::TokenId;
use wire_protocol::joining::{Address, Approval, Digest, TokenState, TokenView};
use wire_protocol::record::{TokenCreated, WorkerEnrolled};
use wire_protocol::units::{Instant, Millis};

/// Time for which a token is listed after it has expired. It is forgotten when another one is made, which is a record,
/// so that a replay forgets the same.
const REMEMBERED: Millis = Millis::from_secs(7 * 86_400);

/// What is known of a worker beside what it offers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Standing {
    pub(crate) approval: Approval,
    pub(crate) certificate: Option<Certificate>,
    /// The wallet that it proved to hold when it last joined.
    pub(crate) wallet: Option<Address>,
    /// Groups that its enrolment put it into.
    pub(crate) groups: Vec<String>,
}

impl Standing {
    /// That of a worker of which nothing was said yet.
    pub(crate) const NEW: &'static Self = &Self {
        approval: Approval::Approved,
        certificate: None,
        wallet: None,
        groups: Vec::new(),
    };

    /// The certificate that is good at this time.
    pub(crate) fn certificate_at(&self, now: Instant) -> Option<&Certificate> {
        self.certificate
            .as_ref()
            .filter(|certificate| certificate.not_after > now)
    }

    /// Also in replay.
    pub(crate) fn approve(&mut self, approval: Approval) {
        self.approval = approval;
        if approval == Approval::Revoked {
            self.certificate = None;
        }
    }

    /// A certificate was given; also in replay.
    pub(crate) fn enrol(&mut self, enrolled: &WorkerEnrolled, groups: Option<&[String]>) {
        if let Some(groups) = groups {
            self.groups = groups.to_vec();
        }
        let before = self.certificate.map(|certificate| certificate.token);
        self.certificate = Some(Certificate {
            serial: enrolled.serial,
            key: enrolled.key,
            not_after: enrolled.not_after,
            token: enrolled.token.or(before).unwrap_or_default(),
        });
    }
}

/// The newest certificate of a worker. Older ones under the same key are good until they end: a worker that did not get
/// the newest goes on with what it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Certificate {
    pub(crate) serial: u64,
    pub(crate) key: Digest,
    pub(crate) not_after: Instant,
    /// The token that the worker was enrolled with, so that a repeat is recognised.
    pub(crate) token: TokenId,
}

/// An enrolment token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Token {
    pub(crate) id: TokenId,
    pub(crate) digest: Digest,
    pub(crate) created: Instant,
    pub(crate) expires: Instant,
    pub(crate) uses: u32,
    pub(crate) used: u32,
    pub(crate) revoked: bool,
    pub(crate) label: String,
    pub(crate) groups: Vec<String>,
}

impl Token {
    /// One that nobody has used.
    pub(crate) fn new(created: TokenCreated) -> Self {
        Self {
            id: created.token,
            digest: created.digest,
            created: created.at,
            expires: created.expires,
            uses: created.uses,
            used: 0,
            revoked: false,
            label: created.label,
            groups: created.groups,
        }
    }

    pub(crate) fn state(&self, now: Instant) -> TokenState {
        if self.revoked {
            TokenState::Revoked
        } else if self.used >= self.uses {
            TokenState::Spent
        } else if self.expires <= now {
            TokenState::Expired
        } else {
            TokenState::Open
        }
    }

    pub(crate) fn view(&self, now: Instant) -> TokenView {
        TokenView {
            token: self.id,
            state: self.state(now),
            uses: self.uses,
            used: self.used,
            created: self.created,
            expires: self.expires,
            label: self.label.clone(),
            groups: self.groups.clone(),
        }
    }
}

/// All tokens that are remembered.
#[derive(Default)]
pub(crate) struct Tokens {
    list: BTreeMap<TokenId, Token>,
    by_digest: BTreeMap<Digest, TokenId>,
    given: TokenId,
}

impl Tokens {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn get(&self, id: TokenId) -> Option<&Token> {
        self.list.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: TokenId) -> Option<&mut Token> {
        self.list.get_mut(&id)
    }

    pub(crate) fn by_digest(&self, digest: &Digest) -> Option<&Token> {
        self.list.get(self.by_digest.get(digest)?)
    }

    /// The number that the next token gets; numbers are not given twice.
    pub(crate) fn next_id(&self) -> TokenId {
        TokenId(self.given.0 + 1)
    }

    /// The last number that was given.
    pub(crate) fn given(&self) -> TokenId {
        self.given
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Token> {
        self.list.values()
    }

    /// Tokens behind this one.
    pub(crate) fn after(&self, id: TokenId) -> impl Iterator<Item = &Token> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.list.range((Excluded(id), Unbounded)).map(|(_, token)| token)
    }

    /// Forgets those that expired long ago and adds this one; also in replay.
    pub(crate) fn create(&mut self, created: TokenCreated) {
        self.forget_before(created.at);
        self.given = self.given.max(created.token);
        self.insert(Token::new(created));
    }

    pub(crate) fn insert(&mut self, token: Token) {
        self.by_digest.insert(token.digest, token.id);
        self.list.insert(token.id, token);
    }

    /// Numbers up to this one were given.
    pub(crate) fn reserve(&mut self, given: TokenId) {
        self.given = given;
    }

    fn forget_before(&mut self, now: Instant) {
        let by_digest = &mut self.by_digest;
        self.list.retain(|_, token| {
            let keep = token.expires + REMEMBERED > now;
            if !keep {
                by_digest.remove(&token.digest);
            }
            keep
        });
    }

    /// How many would be left if one were made now.
    pub(crate) fn remembered(&self, now: Instant) -> usize {
        let remembered = |token: &&Token| token.expires + REMEMBERED > now;
        self.list.values().filter(remembered).count()
    }
}
