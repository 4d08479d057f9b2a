//! Works one by one, open loop: each is due at an instant of its own.
//!
//! The n-th work is due n / rate after the start. As many works as are due in a tick go to one client, the next as many
//! to the next client: to spread them over all clients would ask for a packet from each of them in every tick, and the
//! cost of those packets would be most of what is measured. Both follow from a work's number, so nothing is kept for
//! works that are under way.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use client::protocol::ids::WorkId;
use client::protocol::outcome::Outcome;
use client::{Client, Stream, StreamOutcomes};
use futures_util::future::try_join_all;

use super::pace::Pace;
use super::stream::open as open_stream;
use super::{LoadPlan, Offered, Progress, Times, record, row, soon};

/// Works that are due within so much of each other are handed over together.
const TICK: Duration = Duration::from_micros(100);

/// When works are due, and the clocks to tell how late something is.
#[derive(Clone, Copy)]
struct Schedule {
    began: Instant,
    began_wall_ns: u64,
    interval_ns: f64,
    clients: u64,
    /// Works in a row that go to the same client.
    batch: u64,
}

impl Schedule {
    fn start(rate: f64, clients: usize) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            began: Instant::now(),
            began_wall_ns: since_1970.as_nanos() as u64,
            interval_ns: 1e9 / rate,
            clients: clients as u64,
            batch: ((rate * TICK.as_secs_f64()).round() as u64).max(1),
        }
    }

    /// When the work is due that a client has as its `row`-th, in nanoseconds since the start.
    fn due_ns(&self, client: usize, row: u64) -> u64 {
        let (turn, within) = (row / self.batch, row % self.batch);
        let number = (turn * self.clients + client as u64) * self.batch + within;
        (number as f64 * self.interval_ns) as u64
    }

    /// The client that hands a work over.
    fn client_of(&self, number: u64) -> usize {
        (number / self.batch % self.clients) as usize
    }

    fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// Works that are due by now.
    fn due_now(&self) -> u64 {
        (self.now_ns() as f64 / self.interval_ns) as u64 + 1
    }

    /// A worker's time of day as nanoseconds since the start.
    fn of_wall_ns(&self, wall_ns: u64) -> u64 {
        wall_ns.saturating_sub(self.began_wall_ns)
    }
}

/// Whether the latency of a work is recorded, by when it is due, in nanoseconds since the start.
pub(crate) type Recorded<'a> = dyn Fn(u64) -> bool + 'a;

/// Gives works at `rate` for `span`.
pub(crate) async fn run(
    clients: &[Client],
    plan: &LoadPlan,
    rate: f64,
    span: Duration,
    progress: &Arc<Progress>,
    recorded: &Recorded<'_>,
) -> Result<Offered> {
    let streams: Result<Vec<_>> = clients.iter().map(|client| open_stream(client, plan)).collect();
    let (streams, outcomes): (Vec<Stream>, Vec<StreamOutcomes>) = streams?.into_iter().unzip();
    let schedule = Schedule::start(rate, clients.len());
    let times = RefCell::new(Times::new());
    let due_in_all = (span.as_secs_f64() * rate) as u64;
    let done_before = progress.done();
    let send = async {
        let works = hand_over(&streams, plan, schedule, span, due_in_all, progress).await?;
        let load_ended = (Instant::now(), progress.done());
        for stream in &streams {
            soon("the last works were accepted", stream.finish()).await??;
        }
        anyhow::Ok((works, load_ended))
    };
    let each = streams.iter().enumerate();
    let accepted =
        try_join_all(each.map(|(index, stream)| watch_accepted(index, stream, schedule, &times, recorded)));
    let each = outcomes.into_iter().enumerate();
    let ended = try_join_all(
        each.map(|(index, outcomes)| watch_outcomes(index, outcomes, schedule, &times, progress, recorded)),
    );
    let ((works, (load_ended, done)), _, succeeded) = tokio::try_join!(send, accepted, ended)?;
    let succeeded: u64 = succeeded.into_iter().sum();
    ensure!(succeeded == works, "{succeeded} of {works} works succeeded");
    Ok(Offered {
        works,
        left_out: due_in_all - works,
        span: schedule.began.elapsed(),
        goodput: (done - done_before) as f64 / (load_ended - schedule.began).as_secs_f64(),
        drain: load_ended.elapsed(),
        times: times.into_inner(),
    })
}

/// Hands works over when they are due, and returns how many. What could not be handed over when the time is up is
/// left out.
async fn hand_over(
    streams: &[Stream],
    plan: &LoadPlan,
    schedule: Schedule,
    span: Duration,
    due_in_all: u64,
    progress: &Progress,
) -> Result<u64> {
    let row = row(plan);
    let sent = Cell::new(0);
    let pace = Pace::every(Duration::from_nanos(schedule.interval_ns as u64).max(TICK))?;
    let in_time = async {
        while sent.get() < due_in_all {
            for number in sent.get()..schedule.due_now().min(due_in_all) {
                streams[schedule.client_of(number)].send(&row).await?;
                sent.set(number + 1);
                progress.add_submitted(1);
            }
            pace.tick().await;
        }
        anyhow::Ok(())
    };
    // A stream that is full waits, and a wait that is given up has taken nothing.
    let end = schedule.began + span + TICK;
    match tokio::time::timeout_at(end.into(), in_time).await {
        Ok(all) => all.map(|()| sent.get()),
        Err(_) => Ok(sent.get()),
    }
}

/// Times acknowledgements. They come as a watermark over the rows of a stream.
async fn watch_accepted(
    index: usize,
    stream: &Stream,
    schedule: Schedule,
    times: &RefCell<Times>,
    recorded: &Recorded<'_>,
) -> Result<()> {
    let mut known = 0;
    while let Some(upto) = stream.durable_beyond(known).await? {
        let now = schedule.now_ns();
        let histogram = &mut times.borrow_mut().accepted;
        for row in known..upto {
            let due = schedule.due_ns(index, row);
            if recorded(due) {
                record(histogram, now.saturating_sub(due));
            }
        }
        known = upto;
    }
    Ok(())
}

/// Times arrivals at workers, which tell them in their results, and outcomes. Returns how many works succeeded.
async fn watch_outcomes(
    index: usize,
    mut outcomes: StreamOutcomes,
    schedule: Schedule,
    times: &RefCell<Times>,
    progress: &Progress,
    recorded: &Recorded<'_>,
) -> Result<u64> {
    let mut succeeded = 0;
    let mut arrivals: Vec<(WorkId, u64)> = Vec::new();
    loop {
        let recv = outcomes.recv(|item| {
            succeeded += u64::from(item.outcome == Outcome::Succeeded);
            let arrival = item.result.try_into().map_or(0, u64::from_le_bytes);
            arrivals.push((item.work, arrival));
        });
        let count = soon("an open loop ran", recv).await??;
        if count == 0 {
            return Ok(succeeded);
        }
        progress.add_done(count as u64);
        let now = schedule.now_ns();
        let times = &mut *times.borrow_mut();
        for (work, arrival) in arrivals.drain(..) {
            let Some(row) = outcomes.row_of(work) else {
                continue;
            };
            let due = schedule.due_ns(index, row);
            if recorded(due) {
                let arrived = schedule.of_wall_ns(arrival);
                record(&mut times.assigned, arrived.saturating_sub(due));
                record(&mut times.outcome, now.saturating_sub(due));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn works_are_due_at_even_distances_and_go_round_the_clients() {
        let schedule = Schedule::start(1_000.0, 4);
        assert_eq!(schedule.client_of(5), 1);
        assert_eq!(schedule.due_ns(0, 0), 0);
        assert_eq!(schedule.due_ns(3, 0), 3_000_000);
        assert_eq!(schedule.due_ns(0, 1), 4_000_000);
        assert_eq!(schedule.of_wall_ns(schedule.began_wall_ns + 5), 5);
    }

    #[test]
    fn works_of_a_tick_go_to_one_client() {
        let schedule = Schedule::start(30_000.0, 2);
        let clients: Vec<usize> = (0..9).map(|number| schedule.client_of(number)).collect();
        assert_eq!(clients, [0, 0, 0, 1, 1, 1, 0, 0, 0]);
        let mut rows = [0, 0];
        for number in 0..1_000 {
            let client = schedule.client_of(number);
            let due = (number as f64 * schedule.interval_ns) as u64;
            assert_eq!(schedule.due_ns(client, rows[client]), due, "work {number}");
            rows[client] += 1;
        }
    }
}
