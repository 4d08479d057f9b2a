//! What the peers of a scheduler say that is measured: works that do nothing, and workers that can run them.

use wire_protocol::client_link::Open;
use wire_protocol::codec::put_bytes;
use wire_protocol::template::{Offer, WorkTemplate};
use wire_protocol::worker_link::Join;

/// A bag whose works ask for so many cores: a class of its own for each number.
pub(crate) fn open(request: u32, cores: u32, rows_total: u32) -> Open {
    let mut template = WorkTemplate {
        app: "null".to_owned(),
        columns: vec!["n".to_owned()],
        ..WorkTemplate::default()
    };
    template.requirements.cores = cores;
    Open {
        request,
        key: [0; 16],
        rows_total,
        follow: true,
        template,
    }
}

/// So many rows of eight bytes, encoded.
pub(crate) fn encoded_rows(count: u32) -> Vec<u8> {
    let mut rows = Vec::new();
    (0..count).for_each(|row| put_bytes(&mut rows, &u64::from(row).to_le_bytes()));
    rows
}

/// A worker that can run classes of up to so many cores.
pub(crate) fn join(worker: usize, cores: u32, slots: u32, prefill: u32) -> Join {
    Join {
        login: String::new(),
        password: String::new(),
        enrol: None,
        wallet: None,
        uid: format!("{worker}"),
        name: String::new(),
        version: String::new(),
        offer: Offer {
            executors: vec!["null".to_owned()],
            cores,
            slots,
            prefill,
            ..Offer::default()
        },
        held: Vec::new(),
        running: Vec::new(),
        unacknowledged: Vec::new(),
        warm: Vec::new(),
    }
}
