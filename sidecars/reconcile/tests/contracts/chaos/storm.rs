//! What goes wrong in each block.

use wire_hub::Wei;

use super::Chaos;

/// How often what happened.
#[derive(Default)]
pub(super) struct Figures {
    pub(super) reorganisations: usize,
    pub(super) deepest: u64,
    pub(super) pool_kills: usize,
    pub(super) worker_kills: usize,
    pub(super) spikes: usize,
    pub(super) outages: usize,
}

/// What lasts, and how many blocks longer.
#[derive(Default)]
pub(super) struct Storm {
    pub(super) figures: Figures,
    pool_is_dead: u32,
    workers_are_dead: Vec<(usize, u32)>,
    gas_is_dear: u32,
    node_is_away: u32,
}

const USUAL_FEE: Wei = Wei(1_000_000_000);

impl Storm {
    pub(super) async fn blow(&mut self, chaos: &mut Chaos) {
        self.kill_pool(chaos).await;
        self.kill_workers(chaos).await;
        self.change_gas(chaos);
        self.change_nodes(chaos);
        if chaos.rng.u8(..100) < 8 {
            // Mostly shallow, as they are.
            let deep = chaos.rng.u64(1..=12);
            let depth = if chaos.rng.bool() { deep.min(3) } else { deep };
            chaos.reorganise(depth).await;
            chaos.buy_again(true).await;
            self.figures.reorganisations += 1;
            self.figures.deepest = self.figures.deepest.max(depth);
        }
    }

    /// Whatever it is about to do.
    async fn kill_pool(&mut self, chaos: &mut Chaos) {
        if chaos.pool.is_running() {
            if chaos.rng.u8(..100) < 8 && chaos.pool.fate.fuse.is_none() {
                chaos.pool.fate.fuse = Some(chaos.rng.u32(..120));
                self.figures.pool_kills += 1;
                self.pool_is_dead = chaos.rng.u32(..6);
            }
        } else if let Some(left) = self.pool_is_dead.checked_sub(1) {
            self.pool_is_dead = left;
        } else {
            chaos.pool.start().await;
        }
    }

    async fn kill_workers(&mut self, chaos: &mut Chaos) {
        let mut back = Vec::new();
        self.workers_are_dead.retain_mut(|(index, left)| {
            *left = left.saturating_sub(1);
            if *left == 0 {
                back.push(*index);
            }
            *left > 0
        });
        for index in back {
            chaos.pool.start_worker(index).await;
        }
        let index = chaos.rng.usize(..super::WORKERS);
        let is_dead = self.workers_are_dead.iter().any(|(dead, _)| *dead == index);
        if chaos.rng.u8(..100) < 6 && !is_dead {
            self.figures.worker_kills += 1;
            self.workers_are_dead.push((index, chaos.rng.u32(1..10)));
            chaos.pool.lose_worker(index).await;
        }
    }

    fn change_gas(&mut self, chaos: &mut Chaos) {
        if let Some(left) = self.gas_is_dear.checked_sub(1) {
            self.gas_is_dear = left;
            if left == 0 {
                chaos.pool.base_fee = Some(USUAL_FEE);
            }
        } else if chaos.rng.u8(..100) < 4 {
            self.figures.spikes += 1;
            self.gas_is_dear = chaos.rng.u32(1..12);
            chaos.pool.base_fee = Some(Wei(USUAL_FEE.0 * u128::from(chaos.rng.u64(5..400))));
        }
    }

    fn change_nodes(&mut self, chaos: &mut Chaos) {
        if let Some(left) = self.node_is_away.checked_sub(1) {
            self.node_is_away = left;
            if left > 0 {
                return;
            }
        }
        let is_out = chaos.rng.u8(..100) < 5;
        if is_out {
            self.figures.outages += 1;
            self.node_is_away = chaos.rng.u32(2..12);
        }
        for sky in [&chaos.pool.sky, &chaos.pool.workers_sky] {
            let mut weather = sky.weather();
            weather.is_away = is_out && chaos.rng.bool();
            weather.behind = if is_out { chaos.rng.u64(..8) } else { 0 };
            weather.silent_percent = [0, 0, 5, 40][chaos.rng.usize(..4)];
            weather.denies_percent = [0, 0, 3, 10][chaos.rng.usize(..4)];
            weather.loses_percent = [0, 10, 30, 60][chaos.rng.usize(..4)];
        }
    }

    /// Nothing goes wrong any more.
    pub(super) async fn calm(&mut self, chaos: &mut Chaos) {
        chaos.pool.fate.fuse = None;
        if !chaos.pool.is_running() {
            chaos.pool.start().await;
        }
        for (index, _) in std::mem::take(&mut self.workers_are_dead) {
            chaos.pool.start_worker(index).await;
        }
        chaos.pool.base_fee = Some(USUAL_FEE);
        for sky in [&chaos.pool.sky, &chaos.pool.workers_sky] {
            let mut weather = sky.weather();
            weather.is_away = false;
            weather.behind = 0;
            weather.silent_percent = 0;
            weather.denies_percent = 0;
            weather.loses_percent = 0;
        }
    }
}
