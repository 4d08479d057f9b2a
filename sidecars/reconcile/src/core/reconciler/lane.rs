//! What of events and effects is the lane's.

use wire_lane::{Effect as LaneEffect, Event as Lane};

use super::event::{Effect, LaneEvent};

impl Effect {
    /// What a chain and a wallet are to do for the lane. `None`: it is for somebody else.
    #[must_use]
    pub fn of_lane(&self) -> Option<LaneEffect> {
        Some(match self.clone() {
            Self::AskAccount(at) => LaneEffect::AskAccount(at),
            Self::AskGasPrice => LaneEffect::AskGasPrice,
            Self::AskReceipt { round, hash } => LaneEffect::AskReceipt { round, hash },
            Self::Sign { nonce, payload, fees } => LaneEffect::Sign { nonce, payload, fees },
            Self::Send { nonce, hash, raw } => LaneEffect::Send { nonce, hash, raw },
            _ => return None,
        })
    }
}

impl LaneEvent {
    /// The answer to such an effect.
    #[must_use]
    pub fn of(event: Lane) -> Option<Self> {
        Some(match event {
            Lane::Account(account) => Self::Account(account),
            Lane::GasPrice(price) => Self::GasPrice(price),
            Lane::Receipt { round, hash, answer } => Self::Receipt { round, hash, answer },
            Lane::Signed { nonce, hash, raw } => Self::Signed { nonce, hash, raw },
            Lane::Sent { hash, sending } => Self::Sent { hash, sending },
            _ => return None,
        })
    }

    pub(super) fn for_lane(self) -> Lane {
        match self {
            Self::GasPrice(price) => Lane::GasPrice(price),
            Self::Account(account) => Lane::Account(account),
            Self::Signed { nonce, hash, raw } => Lane::Signed { nonce, hash, raw },
            Self::Sent { hash, sending } => Lane::Sent { hash, sending },
            Self::Receipt { round, hash, answer } => Lane::Receipt { round, hash, answer },
        }
    }
}
