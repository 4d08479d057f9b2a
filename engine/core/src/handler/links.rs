//! Links: who is at the other end, and what happens when it goes.

use wire_protocol::client_link::{FromClient, Lagging, kind};
use wire_protocol::ids::{BagId, LinkId};
use wire_protocol::worker_link::{FromWorker, push_control, push_empty};

use crate::effect::Effects;
use crate::scheduler::Scheduler;
use crate::table::link::Peer;

impl Scheduler {
    pub(crate) fn on_worker_said(&mut self, link: LinkId, message: &FromWorker<'_>, effects: &mut Effects) {
        let Some(worker) = self.links.worker(link) else {
            return effects.close(link, "a worker joins before it says anything else");
        };
        self.saw(worker);
        match message {
            FromWorker::Join(_) => self.close(link, "a worker joins once per connection", effects),
            FromWorker::Finished(reports) => self.on_finished(link, worker, *reports, effects),
            FromWorker::Started(tokens) => self.on_started(worker, *tokens, effects),
            FromWorker::Retracted(tokens) => self.on_retracted(worker, *tokens, effects),
            FromWorker::Ping => effects.send(link, wire_protocol::ids::Lsn(0), |out| {
                push_empty(out, wire_protocol::worker_link::kind::PONG);
            }),
            FromWorker::Draining(draining) => self.on_draining(worker, draining.within, effects),
            FromWorker::GrantAsked(tokens) => self.on_grant_asked(link, worker, *tokens, effects),
            FromWorker::Holding(holding) => self.on_holding(worker, holding.problem.as_deref(), effects),
            // The shell reads its request and tells of it as an event of its own.
            FromWorker::Renew(_) => self.close(link, "this engine gives no certificates", effects),
            FromWorker::Log(log) => self.on_log(link, worker, log, effects),
            FromWorker::LogTold(tokens) => self.on_log_told(link, worker, *tokens, effects),
            FromWorker::WhyIdle => self.on_why_idle(link, worker, effects),
        }
    }

    pub(crate) fn on_client_said(&mut self, link: LinkId, message: FromClient<'_>, effects: &mut Effects) {
        if self.links.client(link).is_none() {
            return effects.close(link, "a client logs in before it says anything else");
        }
        match message {
            FromClient::Login(_) => self.close(link, "a client logs in once per connection", effects),
            FromClient::Open(open) => self.on_open(link, *open, effects),
            FromClient::Rows(chunk) => self.on_rows(link, chunk, effects),
            FromClient::Command(request) => self.on_command(link, request, effects),
            FromClient::Query(request) => self.on_query(link, request, effects),
            FromClient::Follow(follow) => self.on_follow(link, follow, effects),
            FromClient::FollowLogs(asked) => self.on_follow_logs(link, asked, effects),
            FromClient::StopLogs(stop) => self.on_stop_logs(link, stop, effects),
        }
    }

    pub(crate) fn on_link_alive(&mut self, link: LinkId) {
        if let Some(worker) = self.links.worker(link) {
            self.saw(worker);
        }
    }

    /// The link is not read fast enough: stop sending outcomes to it, and say of which bags.
    pub(crate) fn on_link_full(&mut self, link: LinkId, effects: &mut Effects) {
        let Some(client) = self.links.client_mut(link) else {
            return;
        };
        // Of bags that are done nothing is left to be sent: what was sent before will still be read.
        let bags = &self.bags;
        let done = |bag: &BagId| bags.get(*bag).is_none_or(crate::table::bag::Bag::is_done);
        let open: Vec<BagId> = client.followed.extract_if(.., |bag| !done(bag)).collect();
        for bag in open {
            self.stop_following(bag, link, Some(effects));
        }
    }

    pub(crate) fn on_link_closed(&mut self, link: LinkId, effects: &mut Effects) {
        match self.links.remove(link) {
            None => {}
            Some(Peer::Worker(worker)) => self.on_worker_link_closed(worker, effects),
            Some(Peer::Client(client)) => {
                for bag in client.followed {
                    self.stop_following(bag, link, None);
                }
                self.forget_log_followers(link, effects);
            }
        }
    }

    fn stop_following(&mut self, bag: BagId, link: LinkId, mut tell: Option<&mut Effects>) {
        let after = self.last_lsn;
        let Some(bag) = self.bags.get_mut(bag) else { return };
        for follower in bag.followers.extract_if(.., |follower| follower.link == link) {
            if let Some(effects) = &mut tell {
                let lagging = Lagging {
                    request: follower.request,
                    bag: bag.id,
                };
                effects.send(link, after, |out| push_control(out, kind::LAGGING, &lagging));
            }
        }
    }
}
