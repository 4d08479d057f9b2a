//! Who may log in: one account for workers, one for the administrator, and a limit on guessing. Tokens and certificates
//! of workers are the core's to judge; here guesses at tokens are counted with those at passwords.
//!
//! Passwords are compared as keyed digests, so that neither the time nor the length of the comparison tells
//! anything. An address that guesses wrong is slowed down; other addresses notice nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ring::{hmac, rand};
use subtle::ConstantTimeEq;
use wire_protocol::units::{Instant, Millis};
use wire_protocol::worker_link::{Refused, RefusedCode};

use crate::config::Account;

/// Wrong passwords in a row that an address may send before it has to wait.
const BURST: u32 = 10;

/// One more wrong password is forgiven after this time.
const FORGIVEN_AFTER: Millis = Millis(1_000);

/// Addresses remembered; over it the one that has been quiet longest is forgotten.
const ADDRESSES_MAX: usize = 4_096;

/// What a login may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Worker,
    Operator,
}

pub(crate) struct Auth {
    key: hmac::Key,
    worker: Credential,
    admin: Credential,
    guesses: BTreeMap<IpAddr, Guesses>,
}

struct Credential {
    login: String,
    digest: hmac::Tag,
}

#[derive(Clone, Copy)]
struct Guesses {
    wrong: u32,
    last: Instant,
}

impl Auth {
    pub(crate) fn new(worker: &Account, admin: &Account) -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new())
            .expect("the system gives randomness");
        let credential = |account: &Account| Credential {
            login: account.login.clone(),
            digest: hmac::sign(&key, account.password.as_bytes()),
        };
        let (worker, admin) = (credential(worker), credential(admin));
        Self {
            key,
            worker,
            admin,
            guesses: BTreeMap::new(),
        }
    }

    /// Whether somebody at `from` with this login and password may act in this role.
    pub(crate) fn check(
        &mut self,
        now: Instant,
        from: IpAddr,
        role: Role,
        login: &str,
        password: &str,
    ) -> Result<(), Refused> {
        if let Some(wait) = self.must_wait(now, from) {
            return Err(too_many(wait));
        }
        let credential = match role {
            Role::Worker => &self.worker,
            Role::Operator => &self.admin,
        };
        let digest = hmac::sign(&self.key, password.as_bytes());
        let right = credential.login.as_bytes().ct_eq(login.as_bytes())
            & credential.digest.as_ref().ct_eq(digest.as_ref());
        if bool::from(right) {
            self.guesses.remove(&from);
            return Ok(());
        }
        self.note_wrong(now, from);
        Err(Refused {
            code: RefusedCode::Credentials,
            reason: "wrong login or password".to_owned(),
            retry_after: Millis(0),
        })
    }

    /// Whether somebody at `from` may show a token, which is one that the pool knows or not.
    pub(crate) fn check_token(&mut self, now: Instant, from: IpAddr, is_known: bool) -> Result<(), Refused> {
        if let Some(wait) = self.must_wait(now, from) {
            return Err(too_many(wait));
        }
        if is_known {
            return Ok(());
        }
        self.note_wrong(now, from);
        Err(Refused {
            code: RefusedCode::Credentials,
            reason:
                "this enrolment token is none of this pool: ask an operator for another (`pool worker token \
                     create`)"
                    .to_owned(),
            retry_after: Millis(0),
        })
    }

    fn must_wait(&mut self, now: Instant, from: IpAddr) -> Option<Millis> {
        let guesses = self.guesses.get_mut(&from)?;
        let forgiven = now.since(guesses.last).0 / FORGIVEN_AFTER.0;
        if forgiven > 0 {
            guesses.wrong = guesses
                .wrong
                .saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX));
            guesses.last = now;
        }
        (guesses.wrong >= BURST).then_some(FORGIVEN_AFTER)
    }

    fn note_wrong(&mut self, now: Instant, from: IpAddr) {
        if !self.guesses.contains_key(&from) && self.guesses.len() >= ADDRESSES_MAX {
            let quietest = self
                .guesses
                .iter()
                .min_by_key(|(_, guesses)| guesses.last)
                .map(|(from, _)| *from);
            quietest.and_then(|from| self.guesses.remove(&from));
        }
        let guesses = self
            .guesses
            .entry(from)
            .or_insert(Guesses { wrong: 0, last: now });
        guesses.wrong += 1;
        guesses.last = now;
    }
}

fn too_many(wait: Millis) -> Refused {
    Refused {
        code: RefusedCode::Busy,
        reason: "too many wrong passwords or tokens came from this address".to_owned(),
        retry_after: wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn auth() -> Auth {
        let account = |login: &str, password: &str| Account {
            login: login.to_owned(),
            password: password.to_owned(),
        };
        Auth::new(&account("vworker", "secret"), &account("admin", "other"))
    }

    #[test]
    fn each_role_has_its_own_login_and_password() {
        let mut auth = auth();
        assert!(
            auth.check(Instant(0), HERE, Role::Worker, "vworker", "secret")
                .is_ok()
        );
        assert!(
            auth.check(Instant(0), HERE, Role::Operator, "admin", "other")
                .is_ok()
        );
        for (login, password) in [
            ("vworker", "other"),
            ("admin", "other"),
            ("vworker", ""),
            ("", "secret"),
        ] {
            let refused = auth
                .check(Instant(0), HERE, Role::Worker, login, password)
                .expect_err("not a worker's");
            assert_eq!(refused.code, RefusedCode::Credentials);
        }
    }

    #[test]
    fn an_address_that_guesses_waits_and_others_do_not() {
        let mut auth = auth();
        let there = IpAddr::from([192, 0, 2, 1]);
        for _ in 0..BURST {
            let refused = auth
                .check(Instant(1), there, Role::Worker, "vworker", "guess")
                .expect_err("wrong");
            assert_eq!(refused.code, RefusedCode::Credentials);
        }
        let refused = auth
            .check(Instant(1), there, Role::Worker, "vworker", "secret")
            .expect_err("it has to wait");
        assert_eq!(
            (refused.code, refused.retry_after),
            (RefusedCode::Busy, FORGIVEN_AFTER)
        );
        assert!(
            auth.check(Instant(1), HERE, Role::Worker, "vworker", "secret")
                .is_ok()
        );
        assert!(
            auth.check(
                Instant(1) + FORGIVEN_AFTER,
                there,
                Role::Worker,
                "vworker",
                "secret"
            )
            .is_ok()
        );
    }

    #[test]
    fn guesses_at_tokens_count_as_those_at_passwords_do() {
        let mut auth = auth();
        for _ in 0..BURST {
            assert!(auth.check_token(Instant(1), HERE, false).is_err());
        }
        let refused = auth
            .check_token(Instant(1), HERE, true)
            .expect_err("it has to wait");
        assert_eq!(refused.code, RefusedCode::Busy);
        let later = Instant(1) + FORGIVEN_AFTER;
        assert!(auth.check_token(later, HERE, true).is_ok());
    }

    #[test]
    fn the_memory_of_guesses_is_bounded() {
        let mut auth = auth();
        for index in 0..2 * ADDRESSES_MAX as u32 {
            drop(auth.check(
                Instant(u64::from(index)),
                IpAddr::from(index.to_be_bytes()),
                Role::Worker,
                "x",
                "y",
            ));
        }
        assert_eq!(auth.guesses.len(), ADDRESSES_MAX);
    }
}
