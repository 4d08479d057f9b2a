//! Who follows what works print. Nothing of the output itself is kept here, and nothing of this is recorded: it lives as
//! long as the followers' links.

use std::collections::BTreeMap;

use wire_protocol::ids::{LeaseToken, LinkId, WorkId, WorkerId};
use wire_protocol::log::FollowLogs;

/// Works whose output somebody follows.
#[derive(Default)]
pub(crate) struct Logs {
    works: BTreeMap<WorkId, Watched>,
    /// All followers of all works.
    followers: usize,
    /// A timer looks at the works.
    pub(crate) armed: bool,
}

/// One of them.
#[derive(Default, Debug)]
pub(crate) struct Watched {
    /// In the order in which they came; at least one.
    pub(crate) followers: Vec<LogFollower>,
    /// Who was asked for its output.
    pub(crate) source: Option<Source>,
}

/// A worker that tells what an attempt prints, on the link on which it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Source {
    pub(crate) token: LeaseToken,
    pub(crate) worker: WorkerId,
    pub(crate) link: LinkId,
}

/// A client's request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LogFollower {
    pub(crate) link: LinkId,
    pub(crate) asked: FollowLogs,
}

impl Watched {
    /// Those who want more than there is.
    pub(crate) fn following(&self) -> impl Iterator<Item = LogFollower> {
        self.followers
            .iter()
            .filter(|follower| follower.asked.follow)
            .copied()
    }
}

impl Logs {
    pub(crate) fn is_empty(&self) -> bool {
        self.works.is_empty()
    }

    /// Followers of all works.
    pub(crate) fn followers(&self) -> usize {
        self.followers
    }

    /// Requests of one link.
    pub(crate) fn of_link(&self, link: LinkId) -> usize {
        let followers = self.works.values().flat_map(|watched| &watched.followers);
        followers.filter(|follower| follower.link == link).count()
    }

    /// Attempts that a worker tells of.
    pub(crate) fn of_worker(&self, worker: WorkerId) -> usize {
        let sources = self.works.values().filter_map(|watched| watched.source);
        sources.filter(|source| source.worker == worker).count()
    }

    pub(crate) fn get(&self, work: WorkId) -> Option<&Watched> {
        self.works.get(&work)
    }

    pub(crate) fn get_mut(&mut self, work: WorkId) -> Option<&mut Watched> {
        self.works.get_mut(&work)
    }

    pub(crate) fn works(&self) -> Vec<WorkId> {
        self.works.keys().copied().collect()
    }

    pub(crate) fn add(&mut self, work: WorkId, follower: LogFollower) {
        self.followers += 1;
        self.works.entry(work).or_default().followers.push(follower);
    }

    /// Takes out followers that `goes` names. A work that nobody follows any more is gone, too: then this gives who is
    /// still told to say what it prints.
    pub(crate) fn remove(
        &mut self,
        work: WorkId,
        goes: impl Fn(&LogFollower) -> bool,
    ) -> (Vec<LogFollower>, Option<Source>) {
        let Some(watched) = self.works.get_mut(&work) else {
            return (Vec::new(), None);
        };
        let gone: Vec<LogFollower> = watched
            .followers
            .extract_if(.., |follower| goes(follower))
            .collect();
        self.followers -= gone.len();
        if !watched.followers.is_empty() {
            return (gone, None);
        }
        let watched = self.works.remove(&work).expect("it was there");
        (gone, watched.source)
    }
}
