//! Who joins, and by what.

use super::*;

pub(super) fn address() -> impl Strategy<Value = Address> {
    any::<[u8; 20]>().prop_map(Address)
}

pub(super) fn enrol() -> impl Strategy<Value = joining::Enrol> {
    (text(), vec(any::<u8>(), 0..40)).prop_map(|(token, request)| joining::Enrol { token, request })
}

pub(super) fn wallet() -> impl Strategy<Value = WalletProof> {
    (address(), any::<([u8; 32], [u8; 32], u8)>()).prop_map(|(address, (r, s, parity))| WalletProof {
        address,
        r,
        s,
        parity,
    })
}

pub(super) fn approval() -> impl Strategy<Value = Approval> {
    select(vec![Approval::Approved, Approval::Waiting, Approval::Revoked])
}

pub(super) fn a_token() -> impl Strategy<Value = TokenId> {
    any::<u32>().prop_map(TokenId)
}

pub(super) fn token_view() -> impl Strategy<Value = TokenView> {
    use TokenState::{Expired, Open, Revoked, Spent};
    let state = select(vec![Open, Spent, Expired, Revoked]);
    (a_token(), state, any::<(u32, u32, u64, u64)>(), text(), texts()).prop_map(
        |(token, state, (uses, used, created, expires), label, groups)| TokenView {
            token,
            state,
            uses,
            used,
            created: Instant(created),
            expires: Instant(expires),
            label,
            groups,
        },
    )
}

pub(super) fn worker_view() -> impl Strategy<Value = WorkerView> {
    (
        worker(),
        text(),
        offer(),
        approval(),
        option::of(any::<(u64, u64)>()),
        option::of(address()),
        option::of(text()),
    )
        .prop_map(
            |(worker, uid, offer, approval, certificate, wallet, problem)| WorkerView {
                worker,
                uid,
                name: String::new(),
                state: WorkerState::Ready,
                problem,
                held: 1,
                finished: 2,
                offer,
                silent_for: Millis(3),
                version: String::new(),
                approval,
                certificate: certificate.map(|(serial, at)| CertificateView {
                    serial,
                    not_after: Instant(at),
                }),
                wallet,
            },
        )
}

prop_compose! {
    pub(super) fn join()(
        (login, password, name, version) in (text(), text(), text(), text()), uid in "[a-z]{1,8}",
        offer in offer(), held in tokens(), running in tokens(), unacknowledged in tokens(),
        enrol in option::of(enrol()), wallet in option::of(wallet()), warm in vec(any::<u64>(), 0..4),
    ) -> worker_link::Join {
        worker_link::Join {
            login, password, enrol, wallet, uid, name, version, offer, held, running, unacknowledged, warm,
        }
    }
}
