//! What a worker is told of the order that its work is for, and what its result is to the contract.

use serde::{Deserialize, Serialize};
use wire_protocol::codec::{DecodeError, put_control, read_control};
use wire_protocol::outcome::Output;

use crate::{Address, Hash, keccak};

/// The order that a work is for: what [`wire_protocol::template::WorkTemplate::ticket`] holds. Whoever has it contributes the
/// work's result to the order, and reveals it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ticket {
    /// The chain's number.
    pub chain_id: u64,
    /// The marketplace's hub.
    pub hub: Address,
    /// The pool's contract.
    pub pool: Address,
    /// The order's address.
    pub woid: Address,
    /// The hash of all that makes the order what it is, as [`WorkOrder::fingerprint`](crate::WorkOrder::fingerprint): after a
    /// reorganisation another order may have its address.
    pub fingerprint: Hash,
    /// What is contributed, where it is not the work's own result: the root over many works.
    pub result: Option<Hash>,
}

impl Ticket {
    /// As a template holds it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_control(&mut bytes, self);
        bytes
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        read_control("ticket", bytes)
    }
}

/// The 32 bytes that a work's result is to the contract: the digest of what counts when results are compared, where the
/// work says what does; else that of its outputs; else keccak256 of what it printed.
#[must_use]
pub fn result_of(output: &Output<'_>) -> Hash {
    let archive = output.archive.map(|archive| archive.digest);
    match output.consensus.or(archive) {
        Some(digest) => Hash(digest.0),
        None => keccak(output.stdout),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire_protocol::file::Digest;
    use wire_protocol::limits::TICKET_BYTES_MAX;
    use wire_protocol::outcome::Archive;

    #[test]
    fn a_ticket_comes_back_and_fits_a_template() {
        let ticket = Ticket {
            chain_id: u64::MAX,
            hub: Address([1; 20]),
            pool: Address([2; 20]),
            woid: Address([3; 20]),
            fingerprint: Hash([4; 32]),
            result: Some(Hash([5; 32])),
        };
        let bytes = ticket.encode();
        assert!(bytes.len() <= TICKET_BYTES_MAX);
        assert_eq!(Ticket::parse(&bytes), Ok(ticket));
        for cut in 0..bytes.len() {
            assert!(Ticket::parse(&bytes[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn what_counts_is_what_the_work_says_then_its_outputs_then_what_it_printed() {
        let archive = Archive {
            digest: Digest([1; 32]),
            bytes: 1,
        };
        let printed = Output {
            stdout: b"42",
            stderr: b"a warning",
            ..Output::default()
        };
        assert_eq!(result_of(&printed), keccak(b"42"));
        let kept = Output {
            archive: Some(archive),
            ..printed
        };
        assert_eq!(result_of(&kept), Hash([1; 32]));
        let said = Output {
            consensus: Some(Digest([2; 32])),
            ..kept
        };
        assert_eq!(result_of(&said), Hash([2; 32]));
    }
}
