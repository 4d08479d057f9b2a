//! A nonce, and what it is used for.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use wire_hub::{BlockRef, Hash, Nonce, Timestamp};
use wire_protocol::units::Instant;

use super::event::{Intent, IntentId, Kept, Payload, Withdrawal};
use super::fees::Fees;

/// What an attempt is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Purpose {
    /// The intent.
    Intent,
    /// To take the nonce and do nothing.
    Nothing,
}

/// A signed transaction.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attempt {
    /// Its hash.
    pub hash: Hash,
    /// Its bytes.
    pub raw: Vec<u8>,
    /// What it offers.
    pub fees: Fees,
    /// What it is for.
    pub purpose: Purpose,
}

/// Where a nonce is.
///
/// ```text
///                signed           durable, sent           receipt                  read again under a final block
///   Signing ───────────► Noting ───────────────► Pending ─────────► Mined ──────────────────────────────► (gone)
///      ▲                                          │ ▲ │ ▲ ▲            │
///      │            dearer, or a no-op            │ │ │ │ │ orphaned   │
///      ├──────────────────────────────────────────┘ │ │ │ └────────────┘
///      │                                    holds   │ │ │ no answer
///      │  does not hold                             │ │ │
///      └────────────────────────────────── Checking ◄─┘─┘   dropped, orphaned, taken up after a restart
///
///   from any but Mined: a receipt of an older attempt ─► Mined;  somebody else's in a final block ─► (gone)
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Signing {
        purpose: Purpose,
        fees: Fees,
    },
    Noting {
        note: u64,
    },
    Pending,
    Checking {
        since: Instant,
    },
    Mined {
        hash: Hash,
        block: BlockRef,
        succeeded: bool,
    },
}

/// What may happen to a nonce.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    Signed {
        note: u64,
    },
    Noted {
        note: u64,
    },
    Doubted {
        at: Instant,
    },
    Answered,
    Replaced {
        purpose: Purpose,
        fees: Fees,
    },
    Mined {
        hash: Hash,
        block: BlockRef,
        succeeded: bool,
    },
    Orphaned,
}

impl Phase {
    /// The phase that follows, `None` where the step means nothing.
    pub(crate) fn next(self, step: Step) -> Option<Self> {
        match (self, step) {
            (Self::Signing { .. }, Step::Signed { note }) => Some(Self::Noting { note }),
            (Self::Noting { note: waits }, Step::Noted { note }) if waits == note => Some(Self::Pending),
            (Self::Pending, Step::Doubted { at }) => Some(Self::Checking { since: at }),
            (Self::Checking { .. }, Step::Answered) => Some(Self::Pending),
            (Self::Pending | Self::Checking { .. }, Step::Replaced { purpose, fees }) => {
                Some(Self::Signing { purpose, fees })
            }
            (
                _,
                Step::Mined {
                    hash,
                    block,
                    succeeded,
                },
            ) => Some(Self::Mined {
                hash,
                block,
                succeeded,
            }),
            (Self::Mined { .. }, Step::Orphaned) => Some(Self::Pending),
            _ => None,
        }
    }
}

/// A nonce of ours.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) nonce: Nonce,
    pub(crate) intent: Option<Intent>,
    pub(crate) withdrawn: Option<Withdrawal>,
    pub(crate) attempts: Vec<Attempt>,
    /// How many of them are durable, and which notes will make more so.
    pub(crate) durable: usize,
    pub(crate) noting: Vec<(u64, usize)>,
    pub(crate) phase: Phase,
    /// When it was last sent, and last signed.
    pub(crate) sent_at: Instant,
    pub(crate) signed_at: Instant,
    /// It may be in no node's pool any more.
    pub(crate) is_doubtful: bool,
    /// A node says that it is too cheap.
    pub(crate) is_too_cheap: bool,
    /// Somebody wants it although it was given up.
    pub(crate) is_wanted_again: bool,
    /// The operator wants it offered at the cap.
    pub(crate) is_pressed: bool,
    /// The last block at which its nonce was seen to be free.
    pub(crate) unused_at: Option<u64>,
    /// The head from which on its nonce was always used.
    pub(crate) used_since: Option<u64>,
    /// The last time that receipts were asked for: its number, and up to where blocks were final then.
    pub(crate) asked: Option<(u64, Option<u64>)>,
    /// Attempts without a receipt, of that time.
    pub(crate) absent: BTreeSet<Hash>,
}

impl Slot {
    pub(crate) fn new(
        nonce: Nonce,
        intent: Option<Intent>,
        purpose: Purpose,
        fees: Fees,
        now: Instant,
    ) -> Self {
        Self {
            nonce,
            intent,
            withdrawn: None,
            attempts: Vec::new(),
            durable: 0,
            noting: Vec::new(),
            phase: Phase::Signing { purpose, fees },
            sent_at: now,
            signed_at: now,
            is_doubtful: false,
            is_too_cheap: false,
            is_wanted_again: false,
            is_pressed: false,
            unused_at: None,
            used_since: None,
            asked: None,
            absent: BTreeSet::new(),
        }
    }

    /// As an earlier process left it: it may have been sent, or not.
    pub(crate) fn restore(kept: Kept, now: Instant) -> Self {
        let Kept {
            nonce,
            intent,
            withdrawn,
            attempts,
        } = kept;
        let last = attempts.last().expect("what is kept has been signed");
        let (purpose, fees) = (last.purpose, last.fees);
        Self {
            withdrawn,
            durable: attempts.len(),
            attempts,
            phase: Phase::Pending,
            is_doubtful: true,
            ..Self::new(nonce, intent, purpose, fees, now)
        }
    }

    pub(crate) fn kept(&self) -> Kept {
        Kept {
            nonce: self.nonce,
            intent: self.intent.clone(),
            withdrawn: self.withdrawn.clone(),
            attempts: self.attempts.clone(),
        }
    }

    /// Takes the step, if it means anything.
    pub(crate) fn step(&mut self, step: Step) -> bool {
        let next = self.phase.next(step);
        if let Some(next) = next {
            self.phase = next;
        }
        next.is_some()
    }

    /// A note is durable, and with it what was signed before it.
    pub(crate) fn on_noted(&mut self, note: u64) {
        if let Some((_, upto)) = self.noting.iter().find(|(noting, _)| *noting == note) {
            self.durable = self.durable.max(*upto);
        }
        self.noting.retain(|(noting, _)| *noting > note);
    }

    pub(crate) fn is_mined(&self) -> bool {
        matches!(self.phase, Phase::Mined { .. })
    }

    /// What the nonce is to be used for now.
    pub(crate) fn purpose(&self) -> Purpose {
        match (&self.intent, &self.withdrawn) {
            (Some(_), None) => Purpose::Intent,
            _ => Purpose::Nothing,
        }
    }

    /// What was last signed for that, and is durable.
    pub(crate) fn current(&self) -> Option<&Attempt> {
        let purpose = self.purpose();
        self.attempts[..self.durable]
            .iter()
            .rev()
            .find(|attempt| attempt.purpose == purpose)
    }

    pub(crate) fn id(&self) -> Option<IntentId> {
        self.intent.as_ref().map(|intent| intent.id)
    }

    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.intent.as_ref().and_then(|intent| intent.deadline)
    }

    pub(crate) fn payload(&self, purpose: Purpose) -> Payload {
        match (purpose, &self.intent) {
            (Purpose::Intent, Some(intent)) => Payload::Call {
                call: intent.call.clone(),
                gas_limit: intent.gas_limit,
            },
            _ => Payload::Nothing,
        }
    }

    /// What is offered at most by anything that was signed.
    pub(crate) fn dearest(&self) -> Option<Fees> {
        let fees = self.attempts.iter().map(|attempt| attempt.fees);
        fees.max_by_key(|fees| fees.price_max())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;
    use wire_hub::Wei;

    /// A note has 64 KiB; the largest call allows fifty workers.
    #[test]
    fn what_is_kept_of_a_nonce_fits_a_note() {
        let attempt = Attempt {
            hash: Hash([0xff; 32]),
            raw: vec![0xff; 2_048],
            fees: Fees::Dynamic {
                max_fee: Wei(u128::MAX),
                tip: Wei(u128::MAX),
            },
            purpose: Purpose::Intent,
        };
        let address = wire_hub::Address([0xff; 20]);
        let kept = Kept {
            nonce: Nonce(u64::MAX),
            intent: Some(Intent {
                id: IntentId(Hash([0xff; 32])),
                call: wire_hub::Call::AllowWorkersToContribute {
                    woid: address,
                    workers: vec![address; wire_hub::ALLOWED_AT_ONCE_MAX],
                },
                gas_limit: wire_hub::Gas(u64::MAX),
                deadline: None,
                about: Some(Hash([0xff; 32])),
            }),
            withdrawn: None,
            attempts: vec![attempt; super::super::nonces::ATTEMPTS_MAX + 1],
        };
        let bytes = postcard::to_allocvec(&kept).expect("a note");
        assert!(bytes.len() < 64 << 10, "{} bytes", bytes.len());
    }

    #[test]
    fn the_table_of_nonces_is_as_printed() {
        let fees = Fees::Legacy { gas_price: Wei(1) };
        let block = BlockRef {
            number: 1,
            hash: Hash::ZERO,
        };
        let mined = Phase::Mined {
            hash: Hash::ZERO,
            block,
            succeeded: true,
        };
        let purpose = Purpose::Intent;
        let phases = [
            Phase::Signing { purpose, fees },
            Phase::Noting { note: 1 },
            Phase::Pending,
            Phase::Checking { since: Instant(0) },
            mined,
        ];
        let steps = [
            Step::Signed { note: 1 },
            Step::Noted { note: 1 },
            Step::Noted { note: 2 },
            Step::Doubted { at: Instant(0) },
            Step::Answered,
            Step::Replaced { purpose, fees },
            Step::Mined {
                hash: Hash::ZERO,
                block,
                succeeded: true,
            },
            Step::Orphaned,
        ];
        let word = |text: String| text.split(' ').next().unwrap_or_default().to_owned();
        let mut table = String::new();
        for phase in phases {
            for step in steps {
                let next = phase
                    .next(step)
                    .map_or("-".into(), |next| word(format!("{next:?}")));
                let step = match step {
                    Step::Noted { note } => format!("Noted({note})"),
                    other => word(format!("{other:?}")),
                };
                writeln!(table, "{:<9} {step:<9} {next}", word(format!("{phase:?}"))).expect("a string");
            }
        }
        insta::assert_snapshot!("nonces", table);
    }
}
