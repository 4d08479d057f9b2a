//! Who comes in: the first message of a link, and the certificates that workers get.
//!
//! Passwords are compared here ([`crate::auth`]), and so is all that takes cryptography: requests for certificates, and
//! signatures of wallets. Whether a token, a certificate or a version is good is the core's to say.

use std::net::SocketAddr;

use engine_core::{Certify, Event, Proof};
use ring::digest::{SHA256, digest};
use wire_link::{ClientRequest, Close, Links, ListenerId, code};
use wire_protocol::client_link::{self, FromClient};
use wire_protocol::ids::LinkId;
use wire_protocol::joining::{Certified, Enrol};
use wire_protocol::units::{Instant, Millis};
use wire_protocol::worker_link::{self, FromWorker, Join, Refused, RefusedCode, push_control};

use super::{CLIENTS, Shell, Speaker, close};
use crate::auth::Role;

impl Shell {
    /// The first message of a link: who it is.
    pub(super) fn greet(
        &mut self,
        links: &mut Links,
        link: LinkId,
        from: SocketAddr,
        listener: ListenerId,
        kind: u8,
        payload: &[u8],
    ) -> Result<(), Close> {
        if self.shared.is_stopping() {
            return Err(Close::new(code::DONE, "the engine is shutting down"));
        }
        if listener == CLIENTS {
            let FromClient::Login(login) = self.parsed(FromClient::parse(kind, payload))? else {
                return Err(self.out_of_place("a client logs in before it says anything else"));
            };
            if !self.admit(links, link, from, Role::Operator, &login.login, &login.password) {
                return Ok(());
            }
            self.set_speaker(link, Speaker::Client);
            tracing::debug!(%link, %from, agent = login.agent, "a client logged in");
            self.handle(
                links,
                Event::ClientJoined {
                    link,
                    tenant: &login.login,
                    operator: true,
                },
            );
        } else {
            let FromWorker::Join(join) = self.parsed(FromWorker::parse(kind, payload))? else {
                return Err(self.out_of_place("a worker joins before it says anything else"));
            };
            self.greet_worker(links, link, from, &join);
        }
        Ok(())
    }

    /// Finds out how a worker proves who it is, as far as that takes cryptography, and lets the core decide.
    fn greet_worker(&mut self, links: &mut Links, link: LinkId, from: SocketAddr, join: &Join) {
        let shown = links.peer(link).and_then(|peer| peer.certificate.clone());
        let key;
        let proof = if let Some(enrol) = &join.enrol {
            match self.read_enrolment(from, enrol) {
                Ok((digest, asked)) => {
                    key = asked;
                    links.authenticated(link);
                    Proof::Token {
                        digest,
                        key,
                        request: &enrol.request,
                    }
                }
                Err(refused) => return self.turn_away(links, link, from, Role::Worker, &join.uid, &refused),
            }
        } else if let Some(shown) = &shown {
            links.authenticated(link);
            Proof::Certificate {
                uid: &shown.name,
                key: shown.key,
                not_after: Instant(shown.not_after.saturating_mul(1_000_000_000)),
            }
        } else if self.admit(links, link, from, Role::Worker, &join.login, &join.password) {
            Proof::Password
        } else {
            return;
        };
        if let Err(refused) = check_wallet(links, link, join) {
            return self.turn_away(links, link, from, Role::Worker, &join.uid, &refused);
        }
        self.set_speaker(link, Speaker::Worker);
        tracing::info!(%link, %from, uid = join.uid, name = join.name, held = join.held.len(), "a worker joins");
        self.handle(links, Event::WorkerJoined { link, join, proof });
    }

    /// The digests of a token and of the key that a certificate is asked for. A request is read only for a token that is
    /// there: checking its signature costs what a handshake costs.
    fn read_enrolment(&mut self, from: SocketAddr, enrol: &Enrol) -> Result<([u8; 32], [u8; 32]), Refused> {
        let digest = digest(&SHA256, enrol.token.as_bytes());
        let digest: [u8; 32] = digest.as_ref().try_into().expect("SHA-256 is 32 bytes");
        let now = self.now();
        let is_known = self.core.knows_token(&digest);
        self.auth.check_token(now, from.ip(), is_known)?;
        let request = ClientRequest::parse(&enrol.request).map_err(|error| Refused {
            code: RefusedCode::Invalid,
            reason: error.to_string(),
            retry_after: Millis(0),
        })?;
        Ok((digest, request.key()))
    }

    /// Whether this login may go on; if not, it is told why and closed.
    fn admit(
        &mut self,
        links: &mut Links,
        link: LinkId,
        from: SocketAddr,
        role: Role,
        login: &str,
        password: &str,
    ) -> bool {
        let now = self.now();
        match self.auth.check(now, from.ip(), role, login, password) {
            Ok(()) => {
                links.authenticated(link);
                true
            }
            Err(refused) => {
                self.turn_away(links, link, from, role, login, &refused);
                false
            }
        }
    }

    fn turn_away(
        &mut self,
        links: &mut Links,
        link: LinkId,
        from: SocketAddr,
        role: Role,
        who: &str,
        refused: &Refused,
    ) {
        self.numbers.refused_logins += 1;
        tracing::debug!(%link, %from, who, reason = refused.reason, "refused");
        self.refuse(links, link, role, refused);
        // Unlike an error of `on_frame`, this lets the frame arrive before the close.
        links.close(link, close::CREDENTIALS, &refused.reason);
        self.set_speaker(link, Speaker::Closed);
    }

    fn refuse(&mut self, links: &mut Links, link: LinkId, role: Role, refused: &Refused) {
        let mut frame = Vec::new();
        let kind = match role {
            Role::Worker => worker_link::kind::REFUSED,
            Role::Operator => client_link::kind::REFUSED,
        };
        push_control(&mut frame, kind, refused);
        Self::send(&mut self.full, links, link, &frame);
    }

    /// Signs a certificate, and sends it once what says so is durable.
    pub(super) fn certify(&mut self, links: &mut Links, certify: &Certify) {
        const SECOND_NS: u64 = 1_000_000_000;
        let signed = ClientRequest::parse(&certify.request).and_then(|request| {
            let (begins, ends) = (certify.not_before.0 / SECOND_NS, certify.not_after.0 / SECOND_NS);
            self.ca.sign(&request, &certify.uid, certify.serial, begins, ends)
        });
        let certificate = match signed {
            Ok(certificate) => certificate,
            Err(error) => {
                tracing::error!(uid = certify.uid, %error, "a certificate cannot be made");
                return links.close(certify.link, close::CORE, "the certificate cannot be made");
            }
        };
        tracing::info!(
            uid = certify.uid,
            serial = certify.serial,
            "a worker gets a certificate"
        );
        let mut frame = Vec::new();
        let certified = Certified {
            certificate,
            not_before: certify.not_before,
            not_after: certify.not_after,
        };
        push_control(&mut frame, worker_link::kind::CERTIFICATE, &certified);
        self.tell(links, certify.link, certify.after, &frame);
    }
}

/// A wallet is looked at last, because a signature costs more than all else that was checked.
fn check_wallet(links: &Links, link: LinkId, join: &Join) -> Result<(), Refused> {
    let Some(proof) = &join.wallet else { return Ok(()) };
    // A link that is gone needs no answer.
    let channel = links
        .export_keying_material(link, wire_wallet::LABEL, b"")
        .unwrap_or_default();
    wire_wallet::verify(proof, &join.uid, &channel).map_err(|error| Refused {
        code: RefusedCode::Credentials,
        reason: format!("{error}: is somebody between this worker and the engine?"),
        retry_after: Millis(0),
    })
}
