//! What an operator asks for while it runs: the notebook of [`wire_hub::request`] is read every few seconds.
//!
//! It decides nothing, and remembers only which requests it has handed over: the core knows which were done, also by the
//! process before.

use std::time::Duration;

use client::{Client, ClientError};
use tokio::sync::mpsc;
use tokio::time::sleep;
use wire_hub::request::{Asked, NOTEBOOK};

use crate::core::reconciler::Event;

/// How often it is looked for requests.
const EVERY: Duration = Duration::from_secs(2);

/// Hands over requests as they come, each once, until nobody takes them any more.
pub(super) async fn watch(client: Client, events: mpsc::Sender<Event>) {
    let mut told = 0;
    let mut refused: Option<String> = None;
    loop {
        let notes = match client.notes(NOTEBOOK).await {
            Ok(notes) => notes,
            Err(ClientError::NotFound { .. }) => Vec::new(),
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "requests wait for the engine"
                );
                Vec::new()
            }
        };
        for note in notes {
            match Asked::read(&note.key, &note.value) {
                Ok((number, asked)) if number > told => {
                    told = number;
                    if events.send(Event::Requested { number, asked }).await.is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    let text = error.to_string();
                    if refused.as_ref() != Some(&text) {
                        tracing::warn!("{text}");
                        refused = Some(text);
                    }
                }
            }
        }
        sleep(EVERY).await;
    }
}
