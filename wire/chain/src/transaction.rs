//! Transactions: written here, signed by a wallet, known by their hash before anybody has seen them.
//!
//! So a transaction can be noted durably before it is sent, and sent again, byte for byte, after a crash or a
//! reorganisation.

use serde::{Deserialize, Serialize};
use wire_hub::{Address, Gas, Hash, Nonce, Wei, keccak};
use wire_wallet::Wallet;

use crate::abi;

/// A transaction that nobody has signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unsigned {
    /// The chain that it is for.
    pub chain_id: u64,
    /// Its number among its wallet's.
    pub nonce: Nonce,
    /// To whom; `None` makes a contract of `data`.
    pub to: Option<Address>,
    /// Coins that go along.
    pub value: Wei,
    /// Gas that it may take. What it does not take is not paid.
    pub gas: Gas,
    /// What it pays for that.
    pub price: Price,
    /// What the contract is told.
    pub data: Vec<u8>,
}

/// What a unit of gas may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Price {
    /// By EIP-1559.
    Market {
        /// All of it, at most.
        max_fee: Wei,
        /// What of it whoever makes the block gets.
        priority_fee: Wei,
    },
    /// On chains from before London.
    Legacy {
        /// Exactly.
        gas_price: Wei,
    },
}

/// A transaction that can be sent, as often as one likes: it happens once at most.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Signed {
    /// What is sent.
    pub raw: Vec<u8>,
    /// What it is known by.
    pub hash: Hash,
    /// Its number among its wallet's.
    pub nonce: Nonce,
}

impl Unsigned {
    /// Signs it. The same transaction gives the same bytes, always.
    #[must_use]
    pub fn sign(&self, wallet: &Wallet) -> Signed {
        let signature = wallet.sign_hash(&keccak(&abi::rlp(self, None)).0);
        let raw = abi::rlp(self, Some(signature));
        Signed {
            hash: keccak(&raw),
            nonce: self.nonce,
            raw,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    fn wallet() -> Wallet {
        Wallet::of(&[0x46; 32]).expect("a key")
    }

    /// The example of <https://eips.ethereum.org/EIPS/eip-155>.
    #[test]
    fn legacy_transactions_are_those_of_eip_155() {
        let transaction = Unsigned {
            chain_id: 1,
            nonce: Nonce(9),
            to: Some(Address([0x35; 20])),
            value: Wei(1_000_000_000_000_000_000),
            gas: Gas(21_000),
            price: Price::Legacy {
                gas_price: Wei(20_000_000_000),
            },
            data: Vec::new(),
        };
        let signed = transaction.sign(&wallet());
        assert_eq!(
            HEXLOWER.encode(&signed.raw),
            "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025a0\
             28ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276a0\
             67cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83"
        );
        assert_eq!(signed, transaction.sign(&wallet()));
    }

    /// A transaction of the main network: its hash is that of its bytes with the signature.
    #[test]
    fn market_transactions_are_those_of_eip_1559() {
        let bytes = |digits: &str| HEXLOWER.decode(digits.as_bytes()).expect("digits");
        let word = |digits: &str| <[u8; 32]>::try_from(bytes(digits)).expect("32 bytes");
        let to = bytes("6069a6c32cf691f5982febae4faf8a6f3ab2f0f6");
        let transaction = Unsigned {
            chain_id: 1,
            nonce: Nonce(0x42),
            to: Some(Address(to.try_into().expect("20 bytes"))),
            value: Wei(0),
            gas: Gas(44_386),
            price: Price::Market {
                max_fee: Wei(0x4_a817_c800),
                priority_fee: Wei(0x3b9a_ca00),
            },
            data: bytes(
                "a22cb4650000000000000000000000005eee75727d804a2b13038928d36f8b188945a57a\
                 0000000000000000000000000000000000000000000000000000000000000000",
            ),
        };
        let signature = wire_wallet::Signature {
            r: word("840cfc572845f5786e702984c2a582528cad4b49b2a10b9db1be7fca90058565"),
            s: word("25e7109ceb98168d95b09b18bbf6b685130e0562f233877d492b94eee0c5b6d1"),
            parity: 0,
        };
        let raw = abi::rlp(&transaction, Some(signature));
        assert_eq!(raw[0], 2);
        let hash = word("0ec0b6a2df4d87424e5f6ad2a654e27aaeb7dac20ae9e8385cc09087ad532ee0");
        assert_eq!(keccak(&raw).0, hash);
    }
}
