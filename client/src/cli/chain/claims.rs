//! `pool chain claims`: whose requester has to call `claimFailedConsensus`, and what to send them.

use serde::Serialize;
use wire_chain::{Contracts, Input};
use wire_hub::row::{OrderRow, OrderState, Stranded};
use wire_hub::{Address, Call, NOBODY, Rlc};

use super::books::Books;
use super::money::{nrlc, time};
use crate::cli::Context;
use crate::cli::exit::Failure;
use crate::cli::output::{Show, fields};

/// A claim that only its requester can make.
pub(super) struct Claim<'a> {
    order: &'a OrderRow,
    input: Input,
}

impl<'a> Claim<'a> {
    /// `None`: there is nothing to claim.
    pub(super) fn of(order: &'a OrderRow) -> Option<Self> {
        matches!(order.state, OrderState::Expired | OrderState::Stranded).then(|| Self {
            order,
            input: input(order),
        })
    }

    /// Where it is sent.
    pub(super) fn to(&self) -> Address {
        self.input.to
    }

    /// What it carries, as `0x` and hexadecimal digits.
    pub(super) fn data(&self) -> String {
        let digits = self.input.data.iter().map(|byte| format!("{byte:02x}"));
        format!("0x{}", digits.collect::<String>())
    }
}

fn input(order: &OrderRow) -> Input {
    let contracts = Contracts {
        chain_id: order.identity.chain_id,
        hub: order.identity.hub,
        rlc: NOBODY,
        marketplace: NOBODY,
        pools: NOBODY,
        apps: NOBODY,
        datasets: NOBODY,
        pool: NOBODY,
    };
    contracts.encode(&Call::ClaimFailedConsensus {
        woid: order.identity.woid,
    })
}

#[derive(Serialize)]
pub(super) struct ClaimJson {
    woid: String,
    state: &'static str,
    chain_id: u64,
    requester: Option<String>,
    since: String,
    stranded_nrlc: String,
    to: String,
    data: String,
}

impl Show for Claim<'_> {
    const KIND: &'static str = "claim";
    type Json<'b>
        = ClaimJson
    where
        Self: 'b;
    const COLUMNS: &'static [&'static str] = &["order", "state", "stranded", "requester", "to", "data"];

    fn json(&self) -> ClaimJson {
        ClaimJson {
            woid: self.order.identity.woid.to_string(),
            state: self.order.state.name(),
            chain_id: self.order.identity.chain_id,
            requester: self
                .order
                .content
                .as_ref()
                .map(|content| content.requester.to_string()),
            since: time(self.order.consensus_timeout),
            stranded_nrlc: nrlc(self.stranded()),
            to: self.to().to_string(),
            data: self.data(),
        }
    }

    fn cells(&self) -> Vec<String> {
        let json = self.json();
        vec![
            json.woid,
            json.state.to_owned(),
            self.stranded().to_string(),
            json.requester.unwrap_or_default(),
            json.to,
            json.data,
        ]
    }

    fn text(&self) -> String {
        fields(&[
            ("order", self.order.identity.woid.to_string()),
            ("to", self.to().to_string()),
            ("data", self.data()),
        ])
    }
}

impl Claim<'_> {
    fn stranded(&self) -> Rlc {
        self.order
            .stranded
            .as_ref()
            .map(Stranded::total)
            .unwrap_or_default()
    }
}

pub(super) fn list(context: &Context, books: &Books) -> Result<(), Failure> {
    let claims: Vec<_> = books.orders.iter().filter_map(Claim::of).collect();
    Ok(context.output.all(&claims)?)
}
