//! Enrolment tokens.

use serde::Serialize;
use wire_protocol::joining::TokenView;

use crate::cli::output::{Show, fields};
use crate::cli::quantity::timestamp;

#[derive(Serialize)]
pub(crate) struct TokenJson<'a> {
    id: u32,
    state: String,
    uses: u32,
    used: u32,
    created: String,
    expires: String,
    label: &'a str,
    groups: &'a [String],
}

impl Show for TokenView {
    const KIND: &'static str = "token";
    type Json<'a> = TokenJson<'a>;
    const COLUMNS: &'static [&'static str] = &["token", "state", "used", "of", "expires", "label", "groups"];

    fn json(&self) -> TokenJson<'_> {
        TokenJson {
            id: self.token.0,
            state: self.state.to_string(),
            uses: self.uses,
            used: self.used,
            created: timestamp(self.created),
            expires: timestamp(self.expires),
            label: &self.label,
            groups: &self.groups,
        }
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.token.to_string(),
            self.state.to_string(),
            self.used.to_string(),
            self.uses.to_string(),
            timestamp(self.expires),
            self.label.clone(),
            self.groups.join(","),
        ]
    }

    fn text(&self) -> String {
        fields(&[
            ("token", format!("{}, {}", self.token, self.state)),
            ("used", format!("{} of {}", self.used, self.uses)),
            ("created", timestamp(self.created)),
            ("expires", timestamp(self.expires)),
            ("label", self.label.clone()),
            ("groups", self.groups.join(", ")),
        ])
    }
}

/// A token that was made just now, with its text, which nobody can show again.
pub(crate) struct TokenMade {
    pub(crate) secret: String,
    pub(crate) view: TokenView,
}

#[derive(Serialize)]
pub(crate) struct TokenMadeJson<'a> {
    token: &'a str,
    #[serde(flatten)]
    view: TokenJson<'a>,
}

impl Show for TokenMade {
    const KIND: &'static str = "token-made";
    type Json<'a> = TokenMadeJson<'a>;
    const COLUMNS: &'static [&'static str] = &["token", "id", "expires"];

    fn json(&self) -> TokenMadeJson<'_> {
        TokenMadeJson {
            token: &self.secret,
            view: self.view.json(),
        }
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.secret.clone(),
            self.view.token.to_string(),
            timestamp(self.view.expires),
        ]
    }

    fn text(&self) -> String {
        format!(
            "{}\nIt is shown this once. It enrols {} worker{} until {} (token {}):\n  pool-worker --enrol-token-file FILE …\n",
            self.secret,
            self.view.uses,
            if self.view.uses == 1 { "" } else { "s" },
            timestamp(self.view.expires),
            self.view.token,
        )
    }
}
