//! What a worker may do with the files of its works.
//!
//! The scheduler says what: the files that the work names, and an archive of its outputs. Who signs it and where the
//! files are is the shell's business. A grant waits until the lease that it is for is durable, so that no other work can
//! ever have its name.

use wire_protocol::file::{Claims, Source};
use wire_protocol::ids::{LeaseToken, LinkId, WorkerId};
use wire_protocol::outcome::Reason;
use wire_protocol::units::{Bytes, Millis};
use wire_protocol::worker_link::{GrantAnswer, Granted, Tokens, kind, push_control};

use crate::effect::{Effect, Effects};
use crate::scheduler::Scheduler;
use crate::table::rows::Row;

/// How long a grant is good. A worker whose upload lasts longer asks for another.
pub(crate) const GRANT_LASTS: Millis = Millis::from_secs(3_600);

impl Scheduler {
    pub(crate) fn on_grant_asked(
        &mut self,
        link: LinkId,
        worker: WorkerId,
        tokens: Tokens<'_>,
        effects: &mut Effects,
    ) {
        for token in tokens.iter() {
            match self.claims(worker, token) {
                Ok(claims) => effects.list.push(Effect::Grant {
                    link,
                    after: self.last_lsn,
                    claims: Box::new(claims),
                }),
                Err(reason) => {
                    let answer = GrantAnswer::Refused { reason };
                    let granted = Granted { token, answer };
                    effects.send(link, wire_protocol::ids::Lsn(0), |out| {
                        push_control(out, kind::GRANTED, &granted);
                    });
                }
            }
        }
    }

    /// The error is a sentence for the worker's log and for whoever submitted the work.
    fn claims(&mut self, worker: WorkerId, token: LeaseToken) -> Result<Claims, String> {
        let work = self
            .leased(worker, token)
            .ok_or_else(|| Reason::Stale.to_string())?;
        let bag = work.bag;
        let bag = self.bags.of_work(bag);
        let template = &self.templates.get(bag.template).definition;
        let Some(Row::Here(row)) = bag.rows.get(bag.row_of(token.work)) else {
            unreachable!("the row of {} is needed while it runs", token.work)
        };
        let reads = template.sources(row)?;
        let writes = !template.outputs.collect.is_empty();
        Ok(Claims {
            token,
            owner: self.tenants.get(bag.tenant).name.clone(),
            reads: reads
                .into_iter()
                .filter(|source| !matches!(source, Source::Url { .. }))
                .collect(),
            write_max: match template.limits.files {
                _ if !writes => Bytes(0),
                Bytes(0) => Bytes(u64::MAX),
                limit => limit,
            },
            expires: self.now + GRANT_LASTS,
        })
    }
}
