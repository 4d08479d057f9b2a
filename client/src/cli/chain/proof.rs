//! `pool chain proof`: that a work's result is in the root that its order has on chain.

use client::protocol::client_link::OutcomeItem;
use serde::Serialize;
use wire_hub::Hash;
use wire_hub::merkle::{NO_RESULT, Proof, Tree, digest_of};
use wire_protocol::ids::WorkId;

use crate::cli::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::Show;
use crate::cli::refs::WorkRef;

/// A proof, with all that it takes to check it.
struct Proven {
    work: WorkId,
    digest: Hash,
    root: Hash,
    proof: Proof,
}

#[derive(Serialize)]
struct ProvenJson {
    work: WorkId,
    row: u32,
    count: u32,
    digest: String,
    neighbours: Vec<String>,
    root: String,
}

impl Show for Proven {
    const KIND: &'static str = "proof";
    type Json<'a> = ProvenJson;

    fn json(&self) -> ProvenJson {
        ProvenJson {
            work: self.work,
            row: self.proof.row,
            count: self.proof.count,
            digest: self.digest.to_string(),
            neighbours: self.proof.neighbours.iter().map(Hash::to_string).collect(),
            root: self.root.to_string(),
        }
    }

    const COLUMNS: &'static [&'static str] = &["WORK", "ROW", "DIGEST", "ROOT"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.work.to_string(),
            self.proof.row.to_string(),
            self.digest.to_string(),
            self.root.to_string(),
        ]
    }

    fn text(&self) -> String {
        let mut text = format!(
            "work    {}\nrow     {} of {}\ndigest  {}\n",
            self.work, self.proof.row, self.proof.count, self.digest
        );
        for neighbour in &self.proof.neighbours {
            text.push_str(&format!("with    {neighbour}\n"));
        }
        text.push_str(&format!("root    {}", self.root));
        text
    }
}

pub(super) async fn run(context: &Context, work: WorkRef) -> Result<Exit, Failure> {
    let client = context.connect().await?;
    let work = work.resolve(&client).await?;
    let bag = client.bag(client.work(work).await?.work.bag).await?;
    if bag.tally.done() < bag.rows_total {
        let message = format!(
            "{} of the {} works of {} have not ended, so there is no root yet",
            bag.rows_total - bag.tally.done(),
            bag.rows_total,
            bag.bag
        );
        return Err(Failure::new(Exit::Conflict, message).cure("wait for them: pool bag get"));
    }
    let mut digests = vec![NO_RESULT; bag.rows_total as usize];
    let mut follow = client.follow(bag.bag).await?;
    let mut take = |item: &OutcomeItem<'_>| {
        let row = usize::try_from(item.work.0 - bag.first.0).ok();
        if let Some(digest) = row.and_then(|row| digests.get_mut(row)) {
            *digest = digest_of(item.outcome, item.result);
        }
    };
    while follow.recv(&mut take).await? > 0 {}
    if follow.missing() > 0 {
        let message = format!(
            "{} results of {} are not remembered any more",
            follow.missing(),
            bag.bag
        );
        return Err(Failure::new(Exit::NotFound, message));
    }
    let row = u32::try_from(work.0 - bag.first.0).expect("it is one of the bag's works");
    let tree = Tree::new(&digests);
    context.output.one(&Proven {
        work,
        digest: digests[row as usize],
        root: tree.root(),
        proof: tree.proof(row).expect("it is one of the bag's works"),
    })?;
    Ok(Exit::Ok)
}
