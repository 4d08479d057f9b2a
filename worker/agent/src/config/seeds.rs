//! Variables by which workers of XtremWeb-HEP were started, for those who keep their compose files.
//!
//! | variable | here |
//! | --- | --- |
//! | `SCHEDULER_DOMAIN` | the host of the engine, and the name in its certificate |
//! | `SCHEDULER_IP` | where that host is, if its name is not to be looked up |
//! | `LOGIN`, `PASSWORD` | `WORKERLOGIN`, `WORKERPASSWORD` |
//! | `TMPDIR` | `POOL_WORKS_FOLDER`, where works run |
//! | `ETHNODE` | `WORKERETHNODEADDRESS`, where an Ethereum node is |
//! | `SHAREDAPPS` | with `docker` in it, containers of all images, unless `POOL_DOCKER_ALLOW` says which |
//!
//! The names of this program come first wherever both are set. An empty variable is not set.

use std::path::PathBuf;

/// What the variables say.
#[derive(Clone, Default, Debug)]
pub(super) struct Seeds {
    domain: Option<String>,
    ip: Option<String>,
    pub(super) login: Option<String>,
    pub(super) password: Option<Password>,
    pub(super) scratch: Option<PathBuf>,
    pub(super) node: Option<String>,
    apps: Vec<String>,
}

/// Printed nowhere.
#[derive(Clone)]
pub(super) struct Password(pub(super) String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Seeds {
    /// Reads them; `variable` gives the value of one.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let given = |name| variable(name).filter(|value| !value.trim().is_empty());
        let apps = given("SHAREDAPPS").unwrap_or_default();
        Self {
            domain: given("SCHEDULER_DOMAIN"),
            ip: given("SCHEDULER_IP"),
            login: given("LOGIN"),
            password: given("PASSWORD").map(Password),
            scratch: given("TMPDIR").map(PathBuf::from),
            node: given("ETHNODE"),
            apps: apps.split(',').map(|app| app.trim().to_owned()).collect(),
        }
    }

    /// Where the engine is, if they say so.
    pub(super) fn engine(&self) -> Option<String> {
        self.ip.clone().or_else(|| self.domain.clone())
    }

    /// Containers may run, of whatever image.
    pub(super) fn shares_docker(&self) -> bool {
        self.apps.iter().any(|app| app.eq_ignore_ascii_case("docker"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds(pairs: &[(&str, &str)]) -> Seeds {
        Seeds::read(|name| {
            let found = pairs.iter().find(|(pair, _)| *pair == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn an_address_says_where_a_domain_is() {
        for (pairs, engine) in [
            (&[][..], None),
            (
                &[("SCHEDULER_DOMAIN", "pool.example.org")],
                Some("pool.example.org"),
            ),
            (
                &[
                    ("SCHEDULER_DOMAIN", "iexecscheduler"),
                    ("SCHEDULER_IP", "10.0.0.1"),
                ],
                Some("10.0.0.1"),
            ),
            (
                &[("SCHEDULER_DOMAIN", "iexecscheduler"), ("SCHEDULER_IP", " ")],
                Some("iexecscheduler"),
            ),
        ] {
            assert_eq!(seeds(pairs).engine().as_deref(), engine, "{pairs:?}");
        }
    }

    #[test]
    fn docker_is_shared_if_it_is_among_the_apps() {
        for (apps, shares) in [
            ("docker", true),
            ("virtualbox, Docker", true),
            ("dockerish", false),
            ("", false),
        ] {
            assert_eq!(seeds(&[("SHAREDAPPS", apps)]).shares_docker(), shares, "{apps}");
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        let seeds = seeds(&[("PASSWORD", "open sesame")]);
        assert!(!format!("{seeds:?}").contains("sesame"));
        assert_eq!(
            seeds.password.map(|password| password.0).as_deref(),
            Some("open sesame")
        );
    }
}
