//! Who may log in: one account for workers, one for the administrator, and a limit on guessing. Tokens and certificates
//! of workers are the core's to judge; here guesses at tokens are counted with those at passwords.

use std::net::IpAddr;

use daemon::{Credential, Guesses};
use wire_protocol::units::{Instant, Millis};
use wire_protocol::worker_link::{Refused, RefusedCode};

use crate::config::Account;

/// What a login may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Worker,
    Operator,
}

pub(crate) struct Auth {
    /// `None`: no worker comes in by a password.
    worker: Option<Credential>,
    admin: Credential,
    guesses: Guesses,
}

impl Auth {
    pub(crate) fn new(worker: Option<&Account>, admin: &Account) -> Self {
        let credential = |account: &Account| Credential::new(&account.login, &account.password);
        Self {
            worker: worker.map(credential),
            admin: credential(admin),
            guesses: Guesses::default(),
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
        if let Some(wait) = self.guesses.must_wait(now, from) {
            return Err(too_many(wait));
        }
        let credential = match role {
            Role::Worker => self.worker.as_ref(),
            Role::Operator => Some(&self.admin),
        };
        if credential.is_some_and(|credential| credential.is(login, password)) {
            self.guesses.right(from);
            return Ok(());
        }
        self.guesses.wrong(now, from);
        Err(Refused {
            code: RefusedCode::Credentials,
            reason: match credential {
                Some(_) => "wrong login or password",
                None => {
                    "this pool takes no passwords from workers: ask an operator for an enrolment token (`pool worker \
                     token create`)"
                }
            }
            .to_owned(),
            retry_after: Millis(0),
        })
    }

    /// Whether somebody at `from` may show a token, which is one that the pool knows or not.
    pub(crate) fn check_token(&mut self, now: Instant, from: IpAddr, is_known: bool) -> Result<(), Refused> {
        if let Some(wait) = self.guesses.must_wait(now, from) {
            return Err(too_many(wait));
        }
        if is_known {
            return Ok(());
        }
        self.guesses.wrong(now, from);
        Err(Refused {
            code: RefusedCode::Credentials,
            reason:
                "this enrolment token is none of this pool: ask an operator for another (`pool worker token \
                     create`)"
                    .to_owned(),
            retry_after: Millis(0),
        })
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
        Auth::new(Some(&account("vworker", "secret")), &account("admin", "other"))
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
    fn a_pool_without_a_password_for_workers_takes_none() {
        let admin = Account {
            login: "admin".to_owned(),
            password: "other".to_owned(),
        };
        let mut auth = Auth::new(None, &admin);
        for password in ["", "other"] {
            let refused = auth
                .check(Instant(0), HERE, Role::Worker, "vworker", password)
                .expect_err("there is no password");
            assert!(refused.reason.contains("pool worker token create"), "{refused:?}");
        }
        assert!(auth.check_token(Instant(0), HERE, true).is_ok());
    }

    #[test]
    fn an_address_that_guesses_waits_and_others_do_not() {
        let mut auth = auth();
        let there = IpAddr::from([192, 0, 2, 1]);
        for _ in 0..10 {
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
            (RefusedCode::Busy, Millis(1_000))
        );
        assert!(
            auth.check(Instant(1), HERE, Role::Worker, "vworker", "secret")
                .is_ok()
        );
        assert!(
            auth.check(
                Instant(1) + Millis(1_000),
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
        for _ in 0..10 {
            assert!(auth.check_token(Instant(1), HERE, false).is_err());
        }
        let refused = auth
            .check_token(Instant(1), HERE, true)
            .expect_err("it has to wait");
        assert_eq!(refused.code, RefusedCode::Busy);
        let later = Instant(1) + refused.retry_after;
        assert!(auth.check_token(later, HERE, true).is_ok());
    }
}
