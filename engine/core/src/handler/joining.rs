//! Who may join: tokens, certificates, approval. See `docs/protocol.md`, "Who a worker is".
//!
//! What takes cryptography the shell has done: here a token is a digest, a certificate the digest of its key and the
//! time at which it ends. A token's use is spent by the very record that says which worker got a certificate for it, and
//! the certificate leaves once that record is durable: a crash before has spent nothing, and after it the same worker
//! with the same key is answered again.

use wire_protocol::codec;
use wire_protocol::ids::{LinkId, Lsn, TokenId, WorkerId};
use wire_protocol::joining::{Approval, Digest, NewToken, TokenState};
use wire_protocol::limits::{NAME_BYTES_MAX, TOKEN_GROUPS_MAX, TOKENS_PAGE_LEN_MAX};
use wire_protocol::outcome::Reason;
use wire_protocol::record::{self, TokenCreated, TokenRevoked, WorkerEnrolled, WorkerStanding};
use wire_protocol::template::Invalid;
use wire_protocol::units::{Instant, Millis};
use wire_protocol::view::{Reply, WorkerState};
use wire_protocol::worker_link::{Join, Notice, Refused, RefusedCode, kind, push_control};

use crate::config::ApprovalPolicy;
use crate::effect::{Certify, Effect, Effects};
use crate::event::Proof;
use crate::scheduler::Scheduler;
use crate::state::WorkerEvent;
use crate::table::joining::{Certificate, Standing};
use crate::version::Version;

/// A token is good for a year at most: one that lies around for ever is a password.
const TOKEN_LIFE_MAX: Millis = Millis::from_secs(365 * 86_400);

/// Between two certificates that one connection asks for; what it asks meanwhile is not answered. A signature is the
/// dearest thing that a worker may ask for.
const RENEWED_EVERY: Millis = Millis::from_secs(1);

/// A second: what times in certificates are counted in.
const SECOND_NS: u64 = 1_000_000_000;

/// What a worker that may join gets beside its welcome.
pub(crate) enum Admission {
    /// Nothing.
    Plain,
    /// A certificate, for a use of this token.
    Enrolled(TokenId),
    /// The certificate that it got before and may not have received.
    Again,
}

impl Scheduler {
    /// Whether the worker may join.
    pub(crate) fn admit(&self, join: &Join, proof: &Proof<'_>) -> Result<Admission, Refused> {
        self.check_version(&join.version)?;
        let known = self.workers.by_uid(&join.uid).and_then(|id| self.workers.get(id));
        if let Some(worker) = known
            && worker.about.standing.approval == Approval::Revoked
        {
            return Err(credentials(format!(
                "an operator revoked this worker; after `pool worker approve {}` it may join again, by password or with \
                 a new enrolment token",
                worker.id
            )));
        }
        let standing = known.map_or(Standing::NEW, |worker| &worker.about.standing);
        match proof {
            Proof::Password => self.admit_by_password(standing),
            Proof::Certificate { uid, key, not_after } => {
                if *uid != join.uid {
                    return Err(credentials(format!(
                        "the certificate is that of worker {uid:?}, and this one says that it is {:?}: give it the uid \
                         that it was enrolled with, or enrol it anew",
                        join.uid
                    )));
                }
                self.admit_by_certificate(standing, key, *not_after)
            }
            Proof::Token { digest, key, .. } => self.admit_by_token(standing, digest, key),
        }
    }

    fn check_version(&self, said: &str) -> Result<(), Refused> {
        let Some(min) = self.config.worker_version_min else {
            return Ok(());
        };
        if said.parse::<Version>().is_ok_and(|version| version >= min) {
            return Ok(());
        }
        Err(Refused {
            code: RefusedCode::Invalid,
            reason: format!(
                "this worker is version {said:?} and the pool takes {min} or later: install a newer pool-worker"
            ),
            retry_after: Millis(0),
        })
    }

    fn admit_by_password(&self, standing: &Standing) -> Result<Admission, Refused> {
        match standing.certificate_at(self.now) {
            None => Ok(Admission::Plain),
            Some(_) => Err(credentials(
                "this uid has a certificate, and joins with it alone: start the worker on the folder that has it, or \
                 revoke and approve the worker first"
                    .to_owned(),
            )),
        }
    }

    fn admit_by_certificate(
        &self,
        standing: &Standing,
        key: &Digest,
        not_after: Instant,
    ) -> Result<Admission, Refused> {
        let again = "ask an operator for a token (`pool worker token create`) and start the worker with it \
                     (--enrol-token-file)";
        if standing.certificate.is_none_or(|known| known.key != *key) {
            return Err(credentials(format!(
                "the pool does not know this worker's certificate any more: {again}"
            )));
        }
        if not_after <= self.now {
            return Err(credentials(format!(
                "this worker's certificate has expired: {again}"
            )));
        }
        Ok(Admission::Plain)
    }

    fn admit_by_token(
        &self,
        standing: &Standing,
        digest: &Digest,
        key: &Digest,
    ) -> Result<Admission, Refused> {
        let token = self.tokens.by_digest(digest);
        let current = standing.certificate_at(self.now);
        if let (Some(token), Some(certificate)) = (token, current)
            && certificate.token == token.id
            && certificate.key == *key
        {
            return Ok(Admission::Again);
        }
        let ask = "ask an operator for another (`pool worker token create`)";
        let refuse = |what: &str| Err(credentials(format!("this enrolment token {what}: {ask}")));
        match token.map(|token| token.state(self.now)) {
            None => refuse("is none of this pool"),
            Some(TokenState::Revoked) => refuse("was revoked"),
            Some(TokenState::Spent) => refuse("was used before, by another worker"),
            Some(TokenState::Expired) => refuse("has expired"),
            Some(TokenState::Open) if current.is_some_and(|certificate| certificate.key != *key) => {
                Err(credentials(
                    "this uid has a certificate under another key: give this worker a uid of its own, or revoke and \
                     approve the other first"
                        .to_owned(),
                ))
            }
            Some(TokenState::Open) => Ok(Admission::Enrolled(token.expect("just matched").id)),
        }
    }

    /// Whether a token with this digest is there, whatever its state: the shell asks before it looks at what comes with
    /// one that was made up.
    #[must_use]
    pub fn knows_token(&self, digest: &Digest) -> bool {
        self.tokens.by_digest(digest).is_some()
    }

    /// Groups that a worker is in by what it says and by its enrolment.
    pub(crate) fn groups_of(&self, join: &Join, admission: &Admission) -> Vec<String> {
        let granted: &[String] = match admission {
            Admission::Enrolled(token) => &self.tokens.get(*token).expect("just admitted").groups,
            Admission::Plain | Admission::Again => self
                .workers
                .by_uid(&join.uid)
                .and_then(|id| self.workers.get(id))
                .map_or(&[], |worker| &worker.about.standing.groups),
        };
        let mut groups = join.offer.groups.clone();
        for group in granted {
            if !groups.contains(group) {
                groups.push(group.clone());
            }
        }
        groups
    }

    /// Records what a worker that has joined is by its proof: its certificate, its approval, its wallet.
    pub(crate) fn settle_standing(
        &mut self,
        id: WorkerId,
        is_new: bool,
        join: &Join,
        admission: &Admission,
        effects: &mut Effects,
    ) {
        let enrols = matches!(admission, Admission::Enrolled(_));
        let manual = self.config.approval == ApprovalPolicy::Manual;
        let standing = &self.workers.get(id).expect("just inserted").about.standing;
        let approval = if manual && (is_new || enrols) {
            Approval::Waiting
        } else {
            standing.approval
        };
        let wallet = join.wallet.map(|proof| proof.address);
        if (approval, wallet) != (standing.approval, standing.wallet) {
            self.stand(id, approval, wallet, effects);
        }
    }

    fn stand(
        &mut self,
        id: WorkerId,
        approval: Approval,
        wallet: Option<wire_protocol::joining::Address>,
        effects: &mut Effects,
    ) {
        let worker = self.workers.get_mut(id).expect("a known worker");
        worker.about.standing.approve(approval);
        self.hold_wallet(id, wallet);
        let said = WorkerStanding {
            worker: id,
            approval,
            wallet,
            at: self.now,
        };
        self.record(effects, record::kind::WORKER_STANDING, |out| {
            codec::put_control(out, &said)
        });
    }

    /// Gives a worker that has joined the certificate that its admission promises.
    pub(crate) fn certify_admitted(
        &mut self,
        id: WorkerId,
        link: LinkId,
        admission: &Admission,
        proof: &Proof<'_>,
        effects: &mut Effects,
    ) {
        let Proof::Token { key, request, .. } = proof else {
            return;
        };
        if let Admission::Enrolled(token) = admission {
            self.enrol(id, Some(*token), *key, effects);
        }
        self.certify(id, link, request, effects);
    }

    /// A worker wants a certificate that lasts longer.
    pub(crate) fn on_renew(&mut self, link: LinkId, key: &Digest, request: &[u8], effects: &mut Effects) {
        let Some(id) = self.links.worker(link) else {
            return effects.close(link, "a worker joins before it says anything else");
        };
        self.saw(id);
        let now = self.now;
        let about = &mut self.workers.get_mut(id).expect("linked workers are known").about;
        let Some(current) = about.standing.certificate.filter(|current| current.key == *key) else {
            return self.close(link, "only the certificate that a worker has is renewed", effects);
        };
        if about
            .renewed_at
            .is_some_and(|renewed| renewed + RENEWED_EVERY > now)
        {
            return;
        }
        about.renewed_at = Some(now);
        // One that was given just now may have been lost on its way: it is sent again.
        let left = current.not_after.since(now);
        if left.0 <= self.config.certificate_lifetime.0 / 2 {
            self.enrol(id, None, *key, effects);
        }
        self.certify(id, link, request, effects);
    }

    fn enrol(&mut self, id: WorkerId, token: Option<TokenId>, key: Digest, effects: &mut Effects) {
        let ends = self.now + self.config.certificate_lifetime;
        let enrolled = WorkerEnrolled {
            worker: id,
            token,
            serial: self.next_serial,
            key,
            // Certificates count in seconds.
            not_after: Instant(ends.0.div_ceil(SECOND_NS) * SECOND_NS),
            at: self.now,
        };
        self.record(effects, record::kind::WORKER_ENROLLED, |out| {
            codec::put_control(out, &enrolled)
        });
        self.apply_enrolled(&enrolled)
            .expect("whoever is enrolled was admitted by a token with a use left");
    }

    /// Also in replay.
    pub(crate) fn apply_enrolled(&mut self, enrolled: &WorkerEnrolled) -> Result<(), String> {
        let groups = match enrolled.token {
            None => None,
            Some(id) => {
                let token = self
                    .tokens
                    .get_mut(id)
                    .filter(|token| token.used < token.uses)
                    .ok_or_else(|| format!("{id} is unknown or spent"))?;
                token.used += 1;
                Some(token.groups.clone())
            }
        };
        let worker = self
            .workers
            .get_mut(enrolled.worker)
            .ok_or_else(|| format!("{} is unknown", enrolled.worker))?;
        worker.about.standing.enrol(enrolled, groups.as_deref());
        self.next_serial = self.next_serial.max(enrolled.serial + 1);
        Ok(())
    }

    /// Sends the certificate that is recorded, once it is durable.
    fn certify(&mut self, id: WorkerId, link: LinkId, request: &[u8], effects: &mut Effects) {
        let about = &self.workers.get(id).expect("a known worker").about;
        let Certificate {
            serial, not_after, ..
        } = about.standing.certificate.expect("just given");
        effects.list.push(Effect::Certify(Box::new(Certify {
            link,
            after: self.last_lsn,
            uid: about.uid.clone(),
            serial,
            not_before: self.now,
            not_after,
            request: request.to_vec(),
        })));
    }

    pub(crate) fn create_token(&mut self, link: LinkId, new: NewToken, effects: &mut Effects) -> Reply {
        if let Some(problem) = self.refuse_others(link, "token") {
            return problem;
        }
        if let Some(token) = self.tokens.by_digest(&new.digest) {
            return Reply::Token(token.view(self.now));
        }
        let names = new.groups.iter().chain([&new.label]);
        let problem = if names.into_iter().any(|name| name.len() > NAME_BYTES_MAX) {
            Some((
                "label",
                format!("has more than {NAME_BYTES_MAX} bytes, as has no group"),
            ))
        } else if new.groups.len() > TOKEN_GROUPS_MAX {
            Some((
                "groups",
                format!("are {}; at most {TOKEN_GROUPS_MAX}", new.groups.len()),
            ))
        } else if new.uses == 0 {
            Some(("uses", "is 0; at least 1".to_owned()))
        } else if new.expires_in < Millis::from_secs(1) || new.expires_in > TOKEN_LIFE_MAX {
            Some((
                "expires",
                format!("is {}; from 1 second to a year", new.expires_in),
            ))
        } else if self.tokens.remembered(self.now) >= self.config.limits.tokens_max {
            let many = format!(
                "{} are remembered; they are forgotten a week after they expire",
                self.tokens.len()
            );
            Some(("token", many))
        } else {
            None
        };
        if let Some((field, problem)) = problem {
            return conflict(field, problem);
        }
        let created = TokenCreated {
            token: self.tokens.next_id(),
            digest: new.digest,
            expires: self.now + new.expires_in,
            uses: new.uses,
            label: new.label,
            groups: new.groups,
            at: self.now,
        };
        self.record(effects, record::kind::TOKEN_CREATED, |out| {
            codec::put_control(out, &created)
        });
        let id = created.token;
        self.tokens.create(created);
        Reply::Token(self.tokens.get(id).expect("just made").view(self.now))
    }

    pub(crate) fn revoke_token(&mut self, link: LinkId, id: TokenId, effects: &mut Effects) -> Reply {
        if let Some(problem) = self.refuse_others(link, "token") {
            return problem;
        }
        let Some(token) = self.tokens.get_mut(id) else {
            return Reply::NotFound {
                what: format!("token {id}"),
            };
        };
        if std::mem::replace(&mut token.revoked, true) {
            return Reply::Changed(0);
        }
        let revoked = TokenRevoked {
            token: id,
            at: self.now,
        };
        self.record(effects, record::kind::TOKEN_REVOKED, |out| {
            codec::put_control(out, &revoked)
        });
        Reply::Changed(1)
    }

    pub(crate) fn list_tokens(&self, link: LinkId, after: TokenId, limit: u32) -> Reply {
        if let Some(problem) = self.refuse_others(link, "token") {
            return problem;
        }
        let page = self.tokens.after(after);
        let limit = limit.clamp(1, TOKENS_PAGE_LEN_MAX) as usize;
        Reply::Tokens(page.take(limit).map(|token| token.view(self.now)).collect())
    }

    /// The answer to whoever is no operator.
    pub(crate) fn refuse_others(&self, link: LinkId, field: &str) -> Option<Reply> {
        let client = self.links.client(link).expect("routed by role");
        (!client.operator).then(|| conflict(field, "only an operator may see or change it".to_owned()))
    }

    /// A worker that waits gets work, one that was revoked may join again.
    pub(crate) fn approve_worker(&mut self, link: LinkId, id: WorkerId, effects: &mut Effects) -> Reply {
        if let Some(refusal) = self.refusal(link, id) {
            return refusal;
        }
        let worker = self.workers.get(id).expect("looked up above");
        if worker.about.standing.approval == Approval::Approved {
            return Reply::Changed(0);
        }
        let (cordoned, wallet) = (worker.cordoned, worker.about.standing.wallet);
        let worker_link = worker.link;
        self.stand(id, Approval::Approved, wallet, effects);
        if !cordoned && self.change_worker(id, WorkerEvent::Uncordoned, Reason::ByOperator, effects) {
            if let Some(link) = worker_link {
                effects.send(link, Lsn(0), |out| {
                    push_control(out, kind::NOTICE, &Notice::Uncordoned)
                });
            }
            self.fill(id, effects);
        }
        if worker_link.is_none() {
            self.arm_forgetting(id);
        }
        Reply::Changed(1)
    }

    /// The worker is out, with its certificate and its leases, until it is approved again.
    pub(crate) fn revoke_worker(&mut self, link: LinkId, id: WorkerId, effects: &mut Effects) -> Reply {
        if let Some(refusal) = self.refusal(link, id) {
            return refusal;
        }
        let worker = self.workers.get(id).expect("looked up above");
        if worker.about.standing.approval == Approval::Revoked {
            return Reply::Changed(0);
        }
        let (worker_link, wallet) = (worker.link, worker.about.standing.wallet);
        self.stand(id, Approval::Revoked, wallet, effects);
        if let Some(worker_link) = worker_link {
            let refused = credentials("an operator revoked this worker".to_owned());
            effects.send(worker_link, Lsn(0), |out| {
                push_control(out, kind::REFUSED, &refused)
            });
            effects.close(worker_link, refused.reason);
            self.on_link_closed(worker_link, effects);
        }
        self.release_all(id, Reason::Retracted, effects);
        if self.rejoining.remove(&id) && self.rejoining.is_empty() {
            self.end_rejoin(effects);
        }
        Reply::Changed(1)
    }

    /// Why a worker is cordoned, for itself and for people; `None`: it is not.
    pub(crate) fn cordon_reason(&self, id: WorkerId) -> Option<String> {
        let worker = self.workers.get(id)?;
        if worker.about.standing.approval == Approval::Waiting {
            return Some(format!("waits for approval: pool worker approve {id}"));
        }
        let cordoned = worker.cordoned || worker.state == WorkerState::Cordoned;
        cordoned.then(|| "an operator cordoned this worker".to_owned())
    }
}

/// The answer to a command for workers that an operator has to decide on first.
pub(crate) fn waits_for_approval(id: WorkerId) -> Reply {
    conflict(
        &id.to_string(),
        format!("waits for approval: `pool worker approve {id}` gives it work"),
    )
}

pub(crate) fn conflict(field: &str, problem: String) -> Reply {
    Reply::Conflict(Invalid {
        field: field.to_owned(),
        problem,
    })
}

fn credentials(reason: String) -> Refused {
    Refused {
        code: RefusedCode::Credentials,
        reason,
        retry_after: Millis(0),
    }
}
