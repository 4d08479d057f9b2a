//! Works in arrays: a template and many rows at once, several arrays under way.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use client::protocol::outcome::Outcome;
use client::{Client, SubmitOptions};

use super::{LoadPlan, Progress, row, soon, template};

pub(super) async fn run(
    clients: &[Client],
    plan: &LoadPlan,
    works: u64,
    progress: &Arc<Progress>,
) -> Result<()> {
    let mut left = works;
    let mut classes = Classes::new(plan);
    let mut under_way = tokio::task::JoinSet::new();
    let most = plan.under_way as usize * clients.len();
    let mut turns = clients.iter().cycle();
    while left > 0 || !under_way.is_empty() {
        while left > 0 && under_way.len() < most {
            let rows = left.min(u64::from(plan.array));
            left -= rows;
            let client = turns.next().context("there are clients")?.clone();
            let rows = u32::try_from(rows).context("an array is bounded")?;
            let progress = Arc::clone(progress);
            under_way.spawn(array(client, plan.clone(), classes.draw(), rows, progress));
        }
        under_way
            .join_next()
            .await
            .context("something is under way")???;
    }
    Ok(())
}

/// Submits an array and waits for all of its outcomes.
async fn array(client: Client, plan: LoadPlan, class: u32, rows: u32, progress: Arc<Progress>) -> Result<()> {
    let (upload, mut follow) =
        client.submit_followed(template(&plan, class), rows, SubmitOptions::default())?;
    let row = row(&plan);
    let send = async {
        progress.add_submitted(u64::from(rows));
        let rows = std::iter::repeat_n(&row, rows as usize);
        upload.send(rows).await.context("the submission failed").map(drop)
    };
    let outcomes = async {
        let mut succeeded = 0;
        loop {
            let recv = follow.recv(|item| succeeded += u32::from(item.outcome == Outcome::Succeeded));
            let count = soon("an array ran", recv).await??;
            if count == 0 {
                break;
            }
            progress.add_done(count as u64);
        }
        ensure!(succeeded == rows, "{succeeded} of {rows} works succeeded");
        Ok(())
    };
    tokio::try_join!(send, outcomes).map(drop)
}

/// Draws kinds of works: the n-th in proportion to 1/n^zipf (Zipf's law). The same every time.
pub(super) struct Classes {
    /// Sums of weights, ending with 1.
    upto: Vec<f64>,
    chance: fastrand::Rng,
}

impl Classes {
    pub(super) fn new(plan: &LoadPlan) -> Self {
        let weights = (1..=plan.classes).map(|n| f64::from(n).powf(-plan.zipf));
        let mut upto: Vec<f64> = weights
            .scan(0.0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        let all = upto[upto.len() - 1];
        upto.iter_mut().for_each(|sum| *sum /= all);
        Self {
            upto,
            chance: fastrand::Rng::with_seed(1),
        }
    }

    /// From 1 to the number of kinds.
    pub(super) fn draw(&mut self) -> u32 {
        let draw = self.chance.f64();
        let index = self.upto.partition_point(|upto| *upto <= draw);
        u32::try_from(index.min(self.upto.len() - 1) + 1).expect("as many as classes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(classes: u32, zipf: f64) -> Vec<u32> {
        let plan = LoadPlan {
            classes,
            zipf,
            ..LoadPlan::default()
        };
        let mut draws = Classes::new(&plan);
        let mut counts = vec![0; classes as usize];
        for _ in 0..10_000 {
            counts[draws.draw() as usize - 1] += 1;
        }
        counts
    }

    #[test]
    fn without_skew_all_kinds_are_drawn_alike() {
        assert!(drawn(4, 0.0).iter().all(|count| (2_000..3_000).contains(count)));
        assert_eq!(drawn(1, 0.0), [10_000]);
    }

    #[test]
    fn with_zipf_1_the_second_kind_comes_half_as_often_as_the_first() {
        let counts = drawn(100, 1.0);
        let ratio = f64::from(counts[0]) / f64::from(counts[1]);
        assert!((1.6..2.4).contains(&ratio), "{ratio}");
        assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    }
}
