//! All transactions of the pool's wallet that any block ever had, and what the lane's notes say that they were for.

use std::collections::{BTreeMap, BTreeSet};

use devnet::Devnet;
use serde_json::{Value, json};
use wire_chain::Chain;
use wire_hub::{Address, Hash, Nonce};
use wire_lane::{Intent, Kept, Payload};

/// A transaction that was sent.
struct Purpose {
    hash: Hash,
    nonce: Nonce,
    /// `None`: to take the nonce and do nothing.
    intent: Option<Intent>,
}

struct Mined {
    number: u64,
    parent: String,
    /// Of the wallet, in their order.
    transactions: Vec<(Nonce, String)>,
}

pub(crate) struct Journal {
    wallet: Address,
    /// By their hashes, as texts: so nodes say them.
    sent: BTreeMap<String, Purpose>,
    blocks: BTreeMap<String, Mined>,
    begun: u64,
    head: String,
}

impl Journal {
    /// What comes in blocks after this one.
    pub(crate) fn new(wallet: Address, begun: u64) -> Self {
        Self {
            wallet,
            sent: BTreeMap::new(),
            blocks: BTreeMap::new(),
            begun,
            head: String::new(),
        }
    }

    /// A transaction goes out, and this is noted of its nonce.
    pub(crate) fn on_send(&mut self, nonce: Nonce, hash: Hash, kept: &Kept) {
        assert_eq!(kept.nonce, nonce);
        let attempt = kept.attempts.iter().find(|attempt| attempt.hash == hash);
        let attempt = attempt.expect("I4: what is sent is noted before");
        let intent = match attempt.purpose {
            wire_lane::Purpose::Intent => kept.intent.clone(),
            wire_lane::Purpose::Nothing => None,
        };
        self.sent
            .insert(hash.to_string(), Purpose { hash, nonce, intent });
    }

    /// Blocks from the head back to what is known are written down.
    pub(crate) async fn read(&mut self, devnet: &Devnet) {
        let head = devnet.node().head().await.found();
        let head = head.expect("an answer").expect("a block");
        self.head = head.at.hash.to_string();
        let (mut hash, mut number) = (self.head.clone(), head.at.number);
        while number > self.begun && !self.blocks.contains_key(&hash) {
            let asked = json!([hash, true]);
            let block = devnet.node().rpc().ask("eth_getBlockByHash", asked).await;
            let mined = self.mined(number, &block.expect("an answer"));
            let parent = mined.parent.clone();
            self.blocks.insert(hash, mined);
            (hash, number) = (parent, number - 1);
        }
    }

    fn mined(&self, number: u64, block: &Value) -> Mined {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let all = block["transactions"].as_array().expect("a list");
        let ours = all
            .iter()
            .filter(|transaction| text(&transaction["from"]).eq_ignore_ascii_case(&self.wallet.to_string()));
        let nonce = |value: &Value| {
            let digits = text(value);
            Nonce(u64::from_str_radix(digits.trim_start_matches("0x"), 16).expect("digits"))
        };
        Mined {
            number,
            parent: text(&block["parentHash"]),
            transactions: ours
                .map(|transaction| (nonce(&transaction["nonce"]), text(&transaction["hash"])))
                .collect(),
        }
    }

    /// Transactions of the chain as it is now, in their order.
    pub(crate) fn mined_now(&self) -> Vec<Hash> {
        let mut blocks = Vec::new();
        let mut hash = &self.head;
        while let Some(mined) = self.blocks.get(hash) {
            blocks.push(mined);
            hash = &mined.parent;
        }
        blocks.sort_by_key(|mined| mined.number);
        let all = blocks.iter().flat_map(|mined| &mined.transactions);
        all.map(|(_, hash)| self.purpose(hash).hash).collect()
    }

    fn purpose(&self, hash: &str) -> &Purpose {
        self.sent.get(hash).expect("I4: every transaction has a purpose")
    }

    /// What a transaction was for; `Nothing` for one that only takes a nonce.
    ///
    /// # Panics
    /// I4: nobody has noted it.
    pub(crate) fn name(&self, hash: Hash) -> String {
        let purpose = self.purpose(&hash.to_string());
        name(purpose.intent.as_ref().map(|intent| &intent.call))
    }

    /// I4: no nonce was ever mined for two purposes, and no intent has taken effect twice.
    pub(crate) fn check(&self, effective: &BTreeSet<Hash>) {
        let mut by_nonce: BTreeMap<Nonce, Option<&Intent>> = BTreeMap::new();
        for (nonce, hash) in self.blocks.values().flat_map(|mined| &mined.transactions) {
            let purpose = self.purpose(hash);
            assert_eq!(purpose.nonce, *nonce);
            let Some(intent) = &purpose.intent else { continue };
            let before = by_nonce.entry(*nonce).or_default().replace(intent);
            assert!(
                before.is_none_or(|before| before.id == intent.id),
                "I4: {nonce:?} was mined for {before:?} and {intent:?}"
            );
        }
        let mut seen = BTreeSet::new();
        for hash in self.mined_now().iter().filter(|hash| effective.contains(*hash)) {
            if let Some(intent) = &self.purpose(&hash.to_string()).intent {
                assert!(seen.insert(intent.id), "I4: {intent:?} took effect twice");
            }
        }
    }

    /// Intents that were sent with more than one nonce.
    pub(crate) fn sent_twice(&self) -> Vec<String> {
        let mut nonces: BTreeMap<Hash, BTreeSet<Nonce>> = BTreeMap::new();
        let mut names = BTreeMap::new();
        for purpose in self.sent.values() {
            if let Some(intent) = &purpose.intent {
                nonces.entry(intent.id.0).or_default().insert(purpose.nonce);
                names.insert(intent.id.0, name(Some(&intent.call)));
            }
        }
        let twice = nonces.iter().filter(|(_, nonces)| nonces.len() > 1);
        twice.map(|(id, _)| names[id].clone()).collect()
    }
}

/// What a call is called, as its function.
pub(crate) fn name(call: Option<&wire_hub::Call>) -> String {
    let Some(call) = call else {
        return "Nothing".to_owned();
    };
    let text = format!("{call:?}");
    let name = text.split([' ', '{']).next();
    name.expect("a word").to_owned()
}

/// The same of what is signed.
pub(crate) fn name_of(payload: &Payload) -> String {
    match payload {
        Payload::Call { call, .. } => name(Some(call)),
        Payload::Nothing => name(None),
    }
}
