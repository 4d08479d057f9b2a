//! What the engine says, and what a worker does about it.

use wire_protocol::joining::Certified;
use wire_protocol::template::WorkTemplate;
use wire_protocol::worker_link::{
    Assignments, Drain, Notice, Refused, RefusedCode, TemplateDefined, ToWorker,
};

use super::{
    Agent, Disconnect, Effect, Effects, Exit, Instant, Joined, Known, LeaseToken, Link, Note, Reason, Tokens,
    Waiting, Welcome, kind, mem,
};
use crate::TEMPLATES_MAX;

impl Agent {
    pub(super) fn on_frame(&mut self, kind: u8, payload: &[u8], effects: &mut Effects) {
        let has_joined = match self.link {
            Link::Joining { .. } => false,
            Link::Joined(_) => true,
            Link::Waiting { .. } | Link::Connecting { .. } | Link::Left => return,
        };
        let message = match ToWorker::parse(kind, payload) {
            Ok(message) => message,
            Err(error) => return self.disconnect(Disconnect::Malformed(error), effects),
        };
        if let Link::Joined(joined) = &mut self.link {
            joined.heard = self.now;
            self.leases_until = self.now + joined.lease_timeout;
        }
        match (message, has_joined) {
            (ToWorker::Welcome(welcome), false) => self.on_welcome(welcome, effects),
            (ToWorker::Refused(refused), _) => self.on_refused(refused, effects),
            (ToWorker::Assign(assignments), true) => self.on_assign(assignments, effects),
            (ToWorker::Recorded(upto), true) => self.on_recorded(upto, effects),
            (ToWorker::Template(defined), true) => self.on_template(*defined, effects),
            (ToWorker::Retract(tokens), true) => self.on_retract(tokens, effects),
            (ToWorker::Cancel(tokens), true) => self.on_cancel(tokens, effects),
            (ToWorker::Notice(notice), true) => self.on_notice(notice, effects),
            (ToWorker::Pong, true) => {}
            (ToWorker::Granted(granted), true) => {
                if self.asking.remove(&granted.token) {
                    effects.push(Effect::Granted(granted));
                }
            }
            (ToWorker::Certificate(certified), true) => self.on_certificate(*certified, effects),
            (ToWorker::Drain(Drain { reason, within }), true) => self.drain(&reason, within, effects),
            (ToWorker::FollowLog(asked), true) => self.on_follow_log(asked, effects),
            (ToWorker::Idle(said), true) => self.on_idle(said, effects),
            (_, _) => self.disconnect(Disconnect::OutOfPlace { kind }, effects),
        }
    }

    fn on_welcome(&mut self, welcome: Welcome, effects: &mut Effects) {
        if welcome.lease_timeout.0 == 0 || welcome.heartbeat.0 == 0 {
            return self.disconnect(Disconnect::BadTimes, effects);
        }
        if let Err(deposed) = self.see_epoch(&welcome) {
            return self.disconnect(deposed, effects);
        }
        self.link = Link::Joined(Joined {
            since: self.now,
            said: self.now,
            heard: self.now,
            started_said: Instant(0),
            renew_not_before: Instant(0),
            lease_timeout: welcome.lease_timeout,
            heartbeat: welcome.heartbeat,
        });
        self.leases_until = self.now + welcome.lease_timeout;
        let before = self.held.live() + self.reports.len();
        self.keep_adopted(welcome.adopted, effects);
        let adopted = self.held.live() + self.reports.len();
        effects.note(Note::Joined {
            worker: welcome.worker,
            shard: welcome.shard,
            epoch: welcome.epoch,
            adopted,
            dropped: before - adopted,
        });
        if self.leaving.is_draining() {
            self.say_draining(effects);
        } else if self.problem.is_some() {
            self.say_holding(effects);
        }
        let asking: Vec<_> = self.asking.iter().copied().collect();
        self.say_tokens(kind::GRANT_ASKED, Reason::None, &asking, effects);
    }

    fn see_epoch(&mut self, welcome: &Welcome) -> Result<(), Disconnect> {
        let (shard, claimed) = (welcome.shard, welcome.epoch);
        match self.epochs.iter_mut().find(|(known, _)| *known == shard) {
            Some((_, seen)) if claimed < *seen => Err(Disconnect::Deposed {
                shard,
                seen: *seen,
                claimed,
            }),
            Some((_, seen)) => {
                *seen = claimed;
                Ok(())
            }
            None => {
                self.epochs.push((shard, claimed));
                Ok(())
            }
        }
    }

    /// What the engine does not adopt is stale: it is stopped, or forgotten, without a word.
    fn keep_adopted(&mut self, mut adopted: Vec<LeaseToken>, effects: &mut Effects) {
        adopted.sort_unstable();
        let is_adopted = |token: &LeaseToken| adopted.binary_search(token).is_ok();
        let stale: Vec<_> = self
            .held
            .waiting_tokens()
            .chain(self.held.running_tokens())
            .filter(|token| !is_adopted(token))
            .collect();
        self.held.take_waiting(stale.iter().copied(), |_| {});
        for token in stale {
            self.stop(token, Reason::Stale, effects);
        }
        self.reports.retain(|token| {
            let keep = is_adopted(&token);
            if !keep {
                self.held.forget_reported(token);
            }
            keep
        });
    }

    fn on_refused(&mut self, refused: Refused, effects: &mut Effects) {
        let reason = refused.reason.clone();
        match refused.code {
            RefusedCode::Busy | RefusedCode::ShuttingDown => {
                self.disconnect(Disconnect::Refused(refused), effects);
            }
            RefusedCode::Credentials => self.leave(Exit::CredentialsRefused { reason }, effects),
            RefusedCode::Invalid => self.leave(Exit::JoinRefused { reason }, effects),
        }
    }

    fn on_template(&mut self, defined: TemplateDefined, effects: &mut Effects) {
        let TemplateDefined { template, definition } = defined;
        if let Err(invalid) = WorkTemplate::validate(&definition) {
            return self.disconnect(Disconnect::InvalidTemplate(invalid), effects);
        }
        if self.templates.len() >= TEMPLATES_MAX && !self.templates.contains_key(&template) {
            return self.disconnect(Disconnect::TooManyTemplates, effects);
        }
        let taken = self.held.ledger().demand(&definition);
        let known = Known::new(definition, &self.settings.offer.executors, taken);
        self.templates.insert(template, known);
    }

    fn on_assign(&mut self, assignments: Assignments<'_>, effects: &mut Effects) {
        let template = assignments.template();
        let Some(known) = self.templates.get(&template).cloned() else {
            return self.disconnect(Disconnect::UndefinedTemplate(template), effects);
        };
        let mut returned = mem::take(&mut self.tokens);
        for assignment in assignments.iter() {
            let token = assignment.token;
            if self.held.waiting() == 0 && self.may_start() && self.held.ledger().may_run(&known.taken) {
                if !self.held.knows(token) {
                    self.start(token, &known, assignment.row, effects);
                }
            } else if self.held.knows(token) {
                // It came twice: what became of it the first time is what counts.
            } else if self.closed_because().is_some()
                || self.held.live() >= self.room()
                || !self.held.ledger().may_hold(&known.taken)
            {
                returned.push(token);
            } else {
                self.held.enqueue(Waiting {
                    token,
                    known: known.clone(),
                    row: assignment.row.into(),
                });
            }
        }
        if let Some(reason) = self.closed_because() {
            self.say_tokens(kind::RETRACTED, reason, &returned, effects);
        } else if !returned.is_empty() {
            effects.note(Note::OverAssigned {
                works: returned.len(),
            });
            self.say_tokens(kind::RETRACTED, Reason::NoRoom, &returned, effects);
        }
        self.put_back(returned);
    }

    fn on_recorded(&mut self, upto: u64, effects: &mut Effects) {
        let held = &mut self.held;
        let recorded = self.reports.recorded(upto, |token| held.forget_reported(token));
        if let Err(said) = recorded {
            self.disconnect(Disconnect::RecordedTooMuch { upto, said }, effects);
        }
    }

    /// Returns those that wait. Of those that run it says so, if it has not yet: then the engine need not wait
    /// for an answer.
    fn on_retract(&mut self, asked: Tokens<'_>, effects: &mut Effects) {
        let mut tokens = mem::take(&mut self.tokens);
        self.held.take_waiting(asked.iter(), |token| tokens.push(token));
        self.say_tokens(kind::RETRACTED, asked.reason(), &tokens, effects);
        tokens.clear();
        tokens.extend(asked.iter().filter(|token| self.held.announce(*token)));
        self.say_tokens(kind::STARTED, Reason::None, &tokens, effects);
        self.put_back(tokens);
    }

    /// Forgets those that wait and stops those that run. What has already ended stays reported: the engine
    /// finds the report stale.
    fn on_cancel(&mut self, tokens: Tokens<'_>, effects: &mut Effects) {
        self.held.take_waiting(tokens.iter(), |_| {});
        for token in tokens.iter() {
            self.stop(token, tokens.reason(), effects);
        }
    }

    pub(super) fn stop(&mut self, token: LeaseToken, reason: Reason, effects: &mut Effects) {
        if self.held.stop(token) {
            self.asking.remove(&token);
            self.logs.forget(token);
            effects.push(Effect::Kill { token, reason });
        }
    }

    /// It shows this one from its next connection on.
    fn on_certificate(&mut self, certified: Certified, effects: &mut Effects) {
        let Some(identity) = &mut self.settings.identity else {
            return self.disconnect(
                Disconnect::OutOfPlace {
                    kind: kind::CERTIFICATE,
                },
                effects,
            );
        };
        let (begins, ends) = (certified.not_before, certified.not_after);
        identity.validity = Some((begins, ends));
        effects.push(Effect::Keep {
            certificate: certified.certificate,
        });
        effects.note(Note::Certified { until: ends });
    }

    fn on_notice(&mut self, notice: Notice, effects: &mut Effects) {
        match notice {
            Notice::Cordoned { reason } => effects.note(Note::Cordoned { reason }),
            Notice::Uncordoned => effects.note(Note::Uncordoned),
            Notice::Stale { token, recorded } => effects.note(Note::Stale { token, recorded }),
            Notice::ShuttingDown => effects.note(Note::EngineShuttingDown),
        }
    }
}
