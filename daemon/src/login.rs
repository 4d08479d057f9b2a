//! Logins: passwords that are compared so that nobody learns from the time it takes, and a limit on guessing them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ring::{hmac, rand};
use subtle::ConstantTimeEq;
use wire_protocol::units::{Instant, Millis};

/// Wrong passwords in a row that an address may send before it has to wait.
const BURST: u32 = 10;

/// One more wrong password is forgiven after this time.
const FORGIVEN_AFTER: Millis = Millis(1_000);

/// Addresses remembered; over it the one that has been quiet longest is forgotten.
const ADDRESSES_MAX: usize = 4_096;

/// A login and its password, of which only a keyed digest is kept: neither the time nor the length of a comparison tells
/// anything.
pub struct Credential {
    login: String,
    key: hmac::Key,
    digest: hmac::Tag,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("login", &self.login)
            .finish_non_exhaustive()
    }
}

impl Credential {
    /// These.
    ///
    /// # Panics
    /// The system gives no randomness.
    #[must_use]
    pub fn new(login: &str, password: &str) -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new())
            .expect("the system gives randomness");
        Self {
            login: login.to_owned(),
            digest: hmac::sign(&key, password.as_bytes()),
            key,
        }
    }

    /// Whether it is these.
    #[must_use]
    pub fn is(&self, login: &str, password: &str) -> bool {
        let digest = hmac::sign(&self.key, password.as_bytes());
        let right =
            self.login.as_bytes().ct_eq(login.as_bytes()) & self.digest.as_ref().ct_eq(digest.as_ref());
        right.into()
    }
}

/// Who has guessed wrong. An address that does is slowed down; others notice nothing.
#[derive(Debug, Default)]
pub struct Guesses(BTreeMap<IpAddr, Wrong>);

#[derive(Clone, Copy, Debug)]
struct Wrong {
    count: u32,
    last: Instant,
}

impl Guesses {
    /// How long somebody at `from` has to wait before anything that they say is looked at.
    pub fn must_wait(&mut self, now: Instant, from: IpAddr) -> Option<Millis> {
        let wrong = self.0.get_mut(&from)?;
        let forgiven = now.since(wrong.last).0 / FORGIVEN_AFTER.0;
        if forgiven > 0 {
            wrong.count = wrong
                .count
                .saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX));
            wrong.last = now;
        }
        (wrong.count >= BURST).then_some(FORGIVEN_AFTER)
    }

    /// They were wrong.
    pub fn wrong(&mut self, now: Instant, from: IpAddr) {
        if !self.0.contains_key(&from) && self.0.len() >= ADDRESSES_MAX {
            let quietest = self.0.iter().min_by_key(|(_, wrong)| wrong.last);
            let quietest = quietest.map(|(from, _)| *from);
            quietest.and_then(|from| self.0.remove(&from));
        }
        let wrong = self.0.entry(from).or_insert(Wrong { count: 0, last: now });
        wrong.count += 1;
        wrong.last = now;
    }

    /// They were right.
    pub fn right(&mut self, from: IpAddr) {
        self.0.remove(&from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_both_together_are_right() {
        let credential = Credential::new("admin", "secret");
        assert!(credential.is("admin", "secret"));
        for (login, password) in [
            ("admin", "Secret"),
            ("admi", "secret"),
            ("admin", ""),
            ("", "secret"),
            ("", ""),
        ] {
            assert!(!credential.is(login, password), "{login} {password}");
        }
        assert!(!format!("{credential:?}").contains("secret"));
    }

    #[test]
    fn an_address_that_guesses_waits_and_others_do_not() {
        let mut guesses = Guesses::default();
        let [here, there] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
        for _ in 0..BURST {
            assert_eq!(guesses.must_wait(Instant(1), there), None);
            guesses.wrong(Instant(1), there);
        }
        assert_eq!(guesses.must_wait(Instant(1), there), Some(FORGIVEN_AFTER));
        assert_eq!(guesses.must_wait(Instant(1), here), None);
        let later = Instant(1) + FORGIVEN_AFTER;
        assert_eq!(guesses.must_wait(later, there), None);
        guesses.wrong(later, there);
        assert_eq!(guesses.must_wait(later, there), Some(FORGIVEN_AFTER));
        guesses.right(there);
        assert_eq!(guesses.must_wait(later, there), None);
    }

    #[test]
    fn the_memory_of_guesses_is_bounded() {
        let mut guesses = Guesses::default();
        for index in 0..2 * ADDRESSES_MAX as u32 {
            guesses.wrong(Instant(u64::from(index)), IpAddr::from(index.to_be_bytes()));
        }
        assert_eq!(guesses.0.len(), ADDRESSES_MAX);
    }
}
