//! Clients that come, and those that want to hear of outcomes.

use wire_protocol::client_link::{Answer, Follow, Outcomes, RequestId, Welcome, kind};
use wire_protocol::ids::{BagId, LinkId, Lsn, WorkId};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::record::{self, TenantAdded};
use wire_protocol::units::Millis;
use wire_protocol::view::Reply;
use wire_protocol::worker_link::{Refused, RefusedCode, push_control};

use crate::effect::Effects;
use crate::fetch::ended_item;
use crate::scheduler::Scheduler;
use crate::table::bag::Follower;
use crate::table::link::{Client, Peer};

/// Outcomes that are told one by one when many works end at once; of more, followers are told to ask.
const OUTCOMES_AT_ONCE_MAX: u32 = 4_096;

impl Scheduler {
    pub(crate) fn on_client_joined(
        &mut self,
        link: LinkId,
        tenant: &str,
        operator: bool,
        effects: &mut Effects,
    ) {
        if self.links.contains(link) {
            return self.close(link, "a client logs in once per connection", effects);
        }
        let tenant = match self.tenants.by_name(tenant) {
            Some(tenant) => tenant,
            None if self.tenants.len() >= self.config.limits.tenants_max => {
                let refused = Refused {
                    code: RefusedCode::Busy,
                    reason: format!("the pool knows {} tenants and takes no more", self.tenants.len()),
                    retry_after: Millis::from_secs(60),
                };
                effects.send(link, Lsn(0), |out| push_control(out, kind::REFUSED, &refused));
                return effects.close(link, refused.reason.clone());
            }
            None => {
                let weight = self.config.weights.get(tenant).copied().unwrap_or(1);
                let id = self.tenants.insert(tenant, weight);
                let added = TenantAdded {
                    tenant: id,
                    name: tenant.to_owned(),
                    weight,
                };
                self.record(effects, record::kind::TENANT_ADDED, |out| {
                    wire_protocol::codec::put_control(out, &added)
                });
                id
            }
        };
        let client = Client {
            tenant,
            operator,
            submissions: std::collections::BTreeMap::new(),
            followed: std::collections::BTreeSet::new(),
        };
        self.links.insert(link, Peer::Client(client));
        let welcome = Welcome {
            shard: self.config.shard,
            epoch: self.epoch,
            version: self.config.version.clone(),
        };
        effects.send(link, Lsn(0), |out| push_control(out, kind::WELCOME, &welcome));
    }

    pub(crate) fn on_follow(&mut self, link: LinkId, follow: Follow, effects: &mut Effects) {
        let reply = match self.visible_bag(link, follow.bag) {
            Some(bag) => Reply::Following(bag.tally),
            None => Reply::NotFound {
                what: follow.bag.to_string(),
            },
        };
        if matches!(reply, Reply::Following(_)) {
            self.add_follower(link, follow.request, follow.bag);
        }
        self.reply(link, follow.request, reply, effects);
    }

    pub(crate) fn add_follower(&mut self, link: LinkId, request: RequestId, bag: BagId) {
        let client = self.links.client_mut(link).expect("only clients follow");
        client.followed.insert(bag);
        let bag = self.bags.get_mut(bag).expect("the caller looked it up");
        bag.followers.retain(|follower| follower.link != link);
        bag.followers.push(Follower { link, request });
    }

    /// Answers a query or a command. What it says may not be durable yet, so the answer waits until it is.
    pub(crate) fn reply(&mut self, link: LinkId, request: RequestId, reply: Reply, effects: &mut Effects) {
        let after = self.last_lsn;
        effects.send(link, after, |out| {
            push_control(out, kind::REPLY, &Answer { request, reply })
        });
    }

    /// Tells the followers of a bag that works of it ended without an attempt deciding it.
    pub(crate) fn tell_ended(
        &mut self,
        bag: BagId,
        works: &[WorkId],
        outcome: Outcome,
        reason: Reason,
        effects: &mut Effects,
    ) {
        let Some(bag) = self.bags.get(bag) else { return };
        if bag.followers.is_empty() || works.is_empty() {
            return;
        }
        let after = self.last_lsn;
        if works.len() > OUTCOMES_AT_ONCE_MAX as usize {
            for follower in bag.followers.clone() {
                let bag = bag.id;
                let lagging = wire_protocol::client_link::Lagging {
                    request: follower.request,
                    bag,
                };
                effects.send(follower.link, after, |out| {
                    push_control(out, kind::LAGGING, &lagging)
                });
            }
            let id = bag.id;
            for follower in std::mem::take(&mut self.bags.get_mut(id).expect("just seen").followers) {
                if let Some(client) = self.links.client_mut(follower.link) {
                    client.followed.remove(&id);
                }
            }
            return;
        }
        for follower in &bag.followers {
            let start = effects.begin_frame(kind::OUTCOMES);
            Outcomes::begin(&mut effects.frames, follower.request, bag.id);
            for work in works {
                ended_item(*work, outcome, reason).put(&mut effects.frames);
            }
            effects.end_frame(follower.link, after, start);
        }
    }
}
