//! Who somebody is: the administrator, by login and password, or an attempt at a work, by a grant of the engine.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use daemon::{Credential, Guesses};
use data_encoding::BASE64;
use sidecars_files::http::{Authority, Denied, Who};
use wire_grant::Key;
use wire_protocol::units::Instant;

pub(crate) struct Gatekeeper {
    login: String,
    admin: Credential,
    key: Key,
    guesses: Mutex<Guesses>,
}

impl Gatekeeper {
    pub(crate) fn new(login: &str, password: &str, key: Key) -> Self {
        Self {
            login: login.to_owned(),
            admin: Credential::new(login, password),
            key,
            guesses: Mutex::default(),
        }
    }

    fn judge(&self, now: Instant, from: IpAddr, told: Option<&str>) -> Result<Who, Denied> {
        let told = told.ok_or(Denied::Unknown)?;
        let (scheme, rest) = told.split_once(' ').unwrap_or((told, ""));
        if scheme.eq_ignore_ascii_case("bearer") {
            let claims = self.key.check(rest.trim(), now);
            return claims
                .map(Who::Grant)
                .map_err(|error| Denied::Wrong(error.to_string()));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(Denied::Wrong(format!("`{scheme}` is no way to log in here")));
        }
        let mut guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wait) = guesses.must_wait(now, from) {
            return Err(Denied::Busy(wait));
        }
        let pair = BASE64.decode(rest.trim().as_bytes()).ok();
        let pair = pair.and_then(|pair| String::from_utf8(pair).ok());
        let right = pair
            .as_deref()
            .and_then(|pair| pair.split_once(':'))
            .is_some_and(|(login, password)| self.admin.is(login, password));
        if !right {
            guesses.wrong(now, from);
            return Err(Denied::Wrong("wrong login or password".to_owned()));
        }
        guesses.right(from);
        Ok(Who::Account {
            owner: self.login.clone(),
            all: true,
        })
    }
}

impl Authority for Gatekeeper {
    fn who(&self, from: IpAddr, authorization: Option<&str>) -> Result<Who, Denied> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = Instant(now.map_or(0, |now| now.as_nanos() as u64));
        self.judge(now, from, authorization)
    }
}

#[cfg(test)]
mod tests {
    use wire_protocol::units::Millis;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn basic(pair: &str) -> String {
        format!("Basic {}", BASE64.encode(pair.as_bytes()))
    }

    #[test]
    fn the_administrator_is_known_by_the_password_alone() {
        let gatekeeper = Gatekeeper::new("admin", "a:b", Key::new(&[1; 32]));
        let judge = |told: &str| gatekeeper.judge(Instant(0), HERE, Some(told));
        assert!(matches!(
            judge(&basic("admin:a:b")),
            Ok(Who::Account { all: true, .. })
        ));
        assert!(judge(&basic("admin:a:b").replace("Basic", "bAsic")).is_ok());
        for told in [
            "",
            "Basic",
            "Basic !",
            "Digest x",
            "Bearer",
            "Bearer x",
            &basic("admin"),
            &basic("admin:a"),
        ] {
            assert!(matches!(judge(told), Err(Denied::Wrong(_))), "{told}");
        }
        assert_eq!(gatekeeper.judge(Instant(0), HERE, None), Err(Denied::Unknown));
    }

    #[test]
    fn who_guesses_waits_with_the_right_password_too() {
        let gatekeeper = Gatekeeper::new("admin", "secret", Key::new(&[1; 32]));
        for _ in 0..10 {
            let denied = gatekeeper.judge(Instant(0), HERE, Some(&basic("admin:guess")));
            assert!(matches!(denied, Err(Denied::Wrong(_))));
        }
        let right = basic("admin:secret");
        assert!(matches!(
            gatekeeper.judge(Instant(0), HERE, Some(&right)),
            Err(Denied::Busy(_))
        ));
        assert!(
            gatekeeper
                .judge(Instant(0), [192, 0, 2, 1].into(), Some(&right))
                .is_ok()
        );
        assert!(
            gatekeeper
                .judge(Instant(0) + Millis(1_000), HERE, Some(&right))
                .is_ok()
        );
    }
}
