//! The head that several nodes agree upon.
//!
//! With *n* nodes that answer, *n*/2 + 1 of them have to have a block. The highest that so many can have is at the height
//! of the so-manieth highest head; from there it is looked for downwards, because branches part somewhere below.

use std::sync::atomic::Ordering;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};
use wire_hub::Block;

use super::{Member, Nodes};
use crate::{Answer, Chain, Why};

impl Nodes {
    /// Asks for the heads of those that do not rest, or of all if all do.
    async fn heads(&self) -> Vec<(&Member, Answer<Block>)> {
        let now = Instant::now();
        let awake: Vec<&Member> = self
            .members
            .iter()
            .filter(|member| !member.state().rests(now))
            .collect();
        let asked = if awake.is_empty() {
            self.members.iter().collect()
        } else {
            awake
        };
        let ask = |member| async move { (member, self.head_of(member).await) };
        join_all(asked.into_iter().map(ask)).await
    }

    /// The block at this height that most of them have, and how many that are.
    async fn favourite<'a>(&self, claiming: &[(&'a Member, Block)], number: u64) -> Option<(Block, usize)> {
        let ask = |(member, head): (&'a Member, Block)| {
            let node = &member.node;
            async move {
                if head.at.number == number {
                    return Some(head);
                }
                let asked = timeout(self.options.head_within, node.block(number)).await;
                asked.ok()?.found().ok()?
            }
        };
        let able = claiming.iter().copied();
        let able = able.filter(|(_, head)| head.at.number >= number);
        let blocks: Vec<Block> = join_all(able.map(ask)).await.into_iter().flatten().collect();
        let count = |block: &Block| blocks.iter().filter(|other| other.at == block.at).count();
        blocks
            .iter()
            .map(|block| (*block, count(block)))
            .max_by_key(|(_, count)| *count)
    }

    pub(super) async fn agreed_head(&self) -> Result<Block, Why> {
        let heads = self.heads().await;
        let claiming: Vec<(&Member, Block)> = heads
            .iter()
            .filter_map(|(member, answer)| match answer {
                Answer::Known(block) => Some((*member, *block)),
                _ => None,
            })
            .collect();
        if claiming.is_empty() {
            let why = heads.into_iter().find_map(|(_, answer)| answer.found().err());
            return Err(why.unwrap_or(Why::Behind {
                wanted: 0,
                best: None,
            }));
        }
        let enough = claiming.len() / 2 + 1;
        let mut numbers: Vec<u64> = claiming.iter().map(|(_, head)| head.at.number).collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        let highest = numbers[enough - 1];
        for number in (highest.saturating_sub(self.options.depth_max)..=highest).rev() {
            let Some((block, count)) = self.favourite(&claiming, number).await else {
                continue;
            };
            if count >= enough {
                self.judge(&claiming, &block).await;
                return self.agree(block, &claiming);
            }
        }
        let said: Vec<String> = claiming
            .iter()
            .map(|(member, head)| {
                format!(
                    "{} has block {} {}",
                    member.node.rpc().endpoint(),
                    head.at.number,
                    head.at.hash
                )
            })
            .collect();
        Err(Why::Disagreement(said.join(", ")))
    }

    /// Notes who has another block than what was agreed upon, or claims blocks on top of it that it does not have.
    async fn judge(&self, claiming: &[(&Member, Block)], agreed: &Block) {
        for (member, head) in claiming
            .iter()
            .filter(|(_, head)| head.at.number >= agreed.at.number)
        {
            let has = if head.at.number == agreed.at.number {
                Some(*head)
            } else {
                let asked = timeout(self.options.head_within, member.node.block(agreed.at.number)).await;
                asked.ok().and_then(|answer| answer.found().ok().flatten())
            };
            let disagrees = has.is_none_or(|block| block.at != agreed.at);
            let mut state = member.state();
            if disagrees && !state.disagrees {
                tracing::warn!(endpoint = %member.node.rpc().endpoint(), agreed = %agreed.at.hash,
                    number = agreed.at.number, "a node has another block than the others");
            }
            state.disagrees = disagrees;
            if !disagrees {
                state.worked();
            }
        }
        for (member, _) in claiming
            .iter()
            .filter(|(_, head)| head.at.number < agreed.at.number)
        {
            member.state().worked();
        }
    }

    /// A chain may become shorter, if most of all nodes say so and nobody has what was seen. A few that are behind are no
    /// such thing.
    fn agree(&self, block: Block, claiming: &[(&Member, Block)]) -> Result<Block, Why> {
        let seen = self.seen.load(Ordering::Relaxed);
        let reached = claiming.iter().any(|(_, head)| head.at.number >= seen);
        if block.at.number >= seen || reached {
            self.seen.fetch_max(block.at.number, Ordering::Relaxed);
            return Ok(block);
        }
        if claiming.len() <= self.members.len() / 2 {
            return Err(Why::Behind {
                wanted: seen,
                best: Some(block.at.number),
            });
        }
        self.seen.store(block.at.number, Ordering::Relaxed);
        Ok(block)
    }
}
