//! A reorganisation as networks make them: most of what was in the blocks is in the new ones too, in another order and in
//! other blocks; the rest is gone.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wire_hub::keccak;

use super::Chaos;

impl Chaos {
    /// Replaces so many blocks.
    pub(super) async fn reorganise(&mut self, depth: u64) {
        let kept = self.kept(depth).await;
        let transactions: Vec<(&[u8], u64)> = kept.iter().map(|(raw, at)| (raw.as_slice(), *at)).collect();
        let done = self.pool.devnet.reorg(depth, &transactions).await;
        if done.is_err() {
            // One of them is not good without what is gone.
            let bare = self.pool.devnet.reorg(depth, &[]).await;
            bare.expect("the chain is longer than that");
        }
    }

    /// Of each sender the first transactions, by chance how many, each in a block by chance, none before its predecessor.
    async fn kept(&mut self, depth: u64) -> Vec<(Vec<u8>, u64)> {
        let known = self.known();
        let mut senders: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        for (from, hash) in self.orphaned(depth).await {
            if let Some(raw) = known.get(&hash) {
                senders.entry(from).or_default().push(raw.clone());
            }
        }
        let mut kept = Vec::new();
        let mut lines: Vec<Vec<Vec<u8>>> = senders.into_values().collect();
        self.rng.shuffle(&mut lines);
        for mut line in lines {
            let count = if self.rng.bool() {
                line.len()
            } else {
                self.rng.usize(..=line.len())
            };
            line.truncate(count);
            let mut at: Vec<u64> = line.iter().map(|_| self.rng.u64(..depth)).collect();
            at.sort_unstable();
            kept.extend(line.into_iter().zip(at));
        }
        kept
    }

    /// All that anybody here ever sent, by its hash as nodes say it.
    fn known(&self) -> BTreeMap<String, Vec<u8>> {
        let members = self.pool.members.iter().flat_map(|member| &member.sent);
        let purchases = self.purchases.iter().filter(|purchase| !purchase.is_dropped);
        let purchases = purchases.filter_map(|purchase| Some(&purchase.signed.as_ref()?.raw));
        let all = self.pool.sent.iter().chain(members).chain(purchases);
        all.map(|raw| (keccak(raw).to_string(), raw.clone())).collect()
    }

    /// Senders and hashes of what is in the last blocks, in its order.
    async fn orphaned(&self, depth: u64) -> Vec<(String, String)> {
        let rpc = self.pool.devnet.node().rpc();
        let head = rpc.ask("eth_blockNumber", json!([])).await.expect("an answer");
        let digits = head.as_str().expect("a number").trim_start_matches("0x");
        let head = u64::from_str_radix(digits, 16).expect("digits");
        let mut all = Vec::new();
        for number in head + 1 - depth..=head {
            let asked = json!([format!("{number:#x}"), true]);
            let block: Value = rpc.ask("eth_getBlockByNumber", asked).await.expect("an answer");
            for transaction in block["transactions"].as_array().expect("a list") {
                let text = |name: &str| transaction[name].as_str().expect("a text").to_owned();
                all.push((text("from"), text("hash")));
            }
        }
        all
    }
}
