//! Live logs: who follows a work hears what it prints, through the engine, at nobody's expense.
//!
//! ```text
//!  client ── FOLLOW_LOGS work ──► ┌────────┐ ── FOLLOW_LOG token ──► worker that has the attempt
//!         ◄────────────── LOG ─── │ engine │ ◄──────────────── LOG ──
//!         ◄────────── LOG_END ─── └────────┘ ◄─────────── LOG_TOLD ──
//! ```
//!
//! Nothing on the way of a work knows of its followers. Every [`LOOK_EVERY`], while there are any, each followed work is
//! looked at: where it is now, and who was asked for its output. What differs is put right, be it a first attempt, another
//! one, a worker that came back, or the end. That may be late by as much, and little is missed by it: a worker begins with
//! what the attempt has printed until then, and the output of a work that is done stands in its result. An attempt that
//! begins and fails between two looks, and is followed by another, is not heard. And of two who only want what there is, and
//! ask at about the same time, the later one's answer ends with the first one's.
//!
//! A piece of output is an [`crate::Effect::Spare`]: it is sent if there is room, and dropped otherwise. It is in no
//! record, and no frame waits for it.

use wire_protocol::client_link::kind as client;
use wire_protocol::ids::{Attempt, LinkId, Lsn, WorkId, WorkerId};
use wire_protocol::log::{ClientLog, FollowLog, FollowLogs, LogEnd, LogStream, LogWish, StopLogs, WorkerLog};
use wire_protocol::units::Millis;
use wire_protocol::view::{Reply, WorkState};
use wire_protocol::worker_link::{Tokens, kind as worker, push_control};

use crate::effect::Effects;
use crate::scheduler::Scheduler;
use crate::table::log::{LogFollower, Source};
use crate::timers::Timer;

/// How often followed works are looked at.
const LOOK_EVERY: Millis = Millis(100);

/// Works that one client link may follow at once.
const FOLLOWED_PER_LINK_MAX: usize = 16;

/// Attempts that one worker tells of at once: what a worker does not take more of.
const FOLLOWED_PER_WORKER_MAX: usize = 32;

impl Scheduler {
    pub(crate) fn on_follow_logs(&mut self, link: LinkId, asked: FollowLogs, effects: &mut Effects) {
        let bag = self.works.get(asked.work).map(|work| self.bags.id_of(work.bag));
        if bag.and_then(|bag| self.visible_bag(link, bag)).is_none() {
            let what = asked.work.to_string();
            return self.reply(link, asked.request, Reply::NotFound { what }, effects);
        }
        let full = self.logs.followers() >= self.config.limits.log_followers_max
            || self.logs.of_link(link) >= FOLLOWED_PER_LINK_MAX;
        if full {
            return self.busy(link, asked.request, "log followers", 0, effects);
        }
        self.logs.add(asked.work, LogFollower { link, asked });
        if !std::mem::replace(&mut self.logs.armed, true) {
            self.timers.at(self.now + LOOK_EVERY, Timer::Logs);
        }
        if let Some(source) = self.logs.get(asked.work).and_then(|watched| watched.source) {
            // It tells somebody else already. For the new one it begins again; the others know what they have.
            self.ask_for_log(source, effects);
        }
        self.look_at_log(asked.work, effects);
    }

    pub(crate) fn on_stop_logs(&mut self, link: LinkId, stop: StopLogs, effects: &mut Effects) {
        self.drop_log_followers(effects, |follower| {
            follower.link == link && follower.asked.request == stop.request
        });
    }

    /// A client is gone, and whatever it followed.
    pub(crate) fn forget_log_followers(&mut self, link: LinkId, effects: &mut Effects) {
        if !self.logs.is_empty() {
            self.drop_log_followers(effects, |follower| follower.link == link);
        }
    }

    fn drop_log_followers(&mut self, effects: &mut Effects, goes: impl Fn(&LogFollower) -> bool) {
        for work in self.logs.works() {
            if let (_, Some(source)) = self.logs.remove(work, &goes) {
                tell_worker(source, LogWish::Stop, effects);
            }
        }
    }

    /// Also when nobody follows any more: then it ends.
    pub(crate) fn look_at_logs(&mut self, effects: &mut Effects) {
        for work in self.logs.works() {
            self.look_at_log(work, effects);
        }
        self.logs.armed = !self.logs.is_empty();
        if self.logs.armed {
            self.timers.at(self.now + LOOK_EVERY, Timer::Logs);
        }
    }

    /// Compares where a followed work is with whom its output was asked of.
    fn look_at_log(&mut self, id: WorkId, effects: &mut Effects) {
        let work = self.works.get(id).copied();
        let Some((work, state)) = work.and_then(|work| Some((work, work.phase.view()?))) else {
            return self.end_logs_of_forgotten(id, effects);
        };
        let token = work
            .phase
            .is_held()
            .then(|| self.token(id, work.epoch, work.attempt));
        let before = self.logs.get(id).and_then(|watched| watched.source);
        if let Some(Source { token: old, .. }) = before
            && token != Some(old)
        {
            let watched = self.logs.get_mut(id).expect("it has a source");
            watched.source = None;
            let is_last = matches!(state, WorkState::Done(_)) && old.attempt == work.attempt;
            if !is_last {
                let stay: Vec<LogFollower> = watched.following().collect();
                self.tell_log_end(&stay, old.attempt, WorkState::Queued, true, effects);
            }
        }
        let Some(token) = token else {
            let is_done = matches!(state, WorkState::Done(_));
            let (gone, _) = self.logs.remove(id, |follower| is_done || !follower.asked.follow);
            return self.tell_log_end(&gone, work.attempt, state, false, effects);
        };
        let Some(link) = self.workers.get(work.worker).and_then(|worker| worker.link) else {
            // Its worker is away. Who only looks does not wait for it.
            let (gone, _) = self.logs.remove(id, |follower| !follower.asked.follow);
            return self.tell_log_end(&gone, work.attempt, state, false, effects);
        };
        let now = Source {
            token,
            worker: work.worker,
            link,
        };
        let Some(watched) = self.logs.get_mut(id) else {
            return;
        };
        if watched.source.replace(now) == Some(now) {
            return;
        }
        if self.logs.of_worker(now.worker) > FOLLOWED_PER_WORKER_MAX {
            self.logs.get_mut(id).expect("just seen").source = None;
        } else {
            self.ask_for_log(now, effects);
        }
    }

    fn tell_log_end(
        &self,
        followers: &[LogFollower],
        attempt: Attempt,
        state: WorkState,
        goes_on: bool,
        effects: &mut Effects,
    ) {
        for LogFollower { link, asked } in followers {
            let end = LogEnd {
                request: asked.request,
                attempt,
                state,
                goes_on,
            };
            effects.send(*link, self.last_lsn, |out| {
                push_control(out, client::LOG_END, &end)
            });
        }
    }

    fn end_logs_of_forgotten(&mut self, id: WorkId, effects: &mut Effects) {
        let (gone, source) = self.logs.remove(id, |_| true);
        for LogFollower { link, asked } in gone {
            let what = id.to_string();
            self.reply(link, asked.request, Reply::NotFound { what }, effects);
        }
        if let Some(source) = source {
            tell_worker(source, LogWish::Stop, effects);
        }
    }

    /// Asks a worker for the output of an attempt, as long as somebody wants it.
    fn ask_for_log(&self, source: Source, effects: &mut Effects) {
        let follows = self
            .logs
            .get(source.token.work)
            .is_some_and(|watched| watched.following().next().is_some());
        let wish = if follows { LogWish::Follow } else { LogWish::Once };
        tell_worker(source, wish, effects);
    }

    /// A worker tells what an attempt prints.
    pub(crate) fn on_log(&self, link: LinkId, worker: WorkerId, log: &WorkerLog<'_>, effects: &mut Effects) {
        let source = Source {
            token: log.token,
            worker,
            link,
        };
        let Some(watched) = self.logs.get(log.token.work) else {
            return;
        };
        if watched.source != Some(source) {
            return;
        }
        for LogFollower { link, asked } in &watched.followers {
            let wanted = match log.chunk.stream {
                LogStream::Stdout => asked.stdout,
                LogStream::Stderr => asked.stderr,
            };
            if wanted {
                let log = ClientLog {
                    request: asked.request,
                    attempt: log.token.attempt,
                    worker,
                    chunk: log.chunk,
                };
                effects.spare(*link, |out| log.push(out, client::LOG));
            }
        }
    }

    /// All that there was has been told: who only wanted that has it.
    pub(crate) fn on_log_told(
        &mut self,
        link: LinkId,
        worker: WorkerId,
        tokens: Tokens<'_>,
        effects: &mut Effects,
    ) {
        if self.logs.is_empty() {
            return;
        }
        for token in tokens.iter() {
            let source = Source { token, worker, link };
            let told = self.logs.get(token.work).and_then(|watched| watched.source);
            let state = self.works.get(token.work).and_then(|work| work.phase.view());
            let (Some(state), true) = (state, told == Some(source)) else {
                continue;
            };
            let (gone, left) = self.logs.remove(token.work, |follower| !follower.asked.follow);
            self.tell_log_end(&gone, token.attempt, state, false, effects);
            if let Some(source) = left {
                tell_worker(source, LogWish::Stop, effects);
            }
        }
    }
}

fn tell_worker(source: Source, wish: LogWish, effects: &mut Effects) {
    let token = source.token;
    effects.send(source.link, Lsn(0), |out| {
        push_control(out, worker::FOLLOW_LOG, &FollowLog { token, wish })
    });
}
