//! Where executors ask what they may do with the files of an attempt, and the shell answers.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;

use tokio::sync::{mpsc, oneshot};
use wire_files::Credentials;
use wire_protocol::ids::LeaseToken;
use wire_protocol::worker_link::{GrantAnswer, Granted};

/// Questions that wait for the shell's next turn.
const QUESTIONS: usize = 64;

type Question = (LeaseToken, oneshot::Sender<GrantAnswer>);

/// The side of executors.
#[derive(Clone, Debug)]
pub struct Desk(mpsc::Sender<Question>);

/// The side of the shell.
#[derive(Debug)]
pub struct Clerk {
    questions: mpsc::Receiver<Question>,
    waiting: HashMap<LeaseToken, Vec<oneshot::Sender<GrantAnswer>>>,
}

/// Both sides.
#[must_use]
pub fn desk() -> (Desk, Clerk) {
    let (sender, questions) = mpsc::channel(QUESTIONS);
    let waiting = HashMap::new();
    (Desk(sender), Clerk { questions, waiting })
}

impl Clerk {
    /// The next attempt that is asked for. Never, if nobody is left who could ask.
    pub(crate) async fn asked(&mut self) -> LeaseToken {
        match self.questions.recv().await {
            Some((token, answer)) => {
                self.waiting.entry(token).or_default().push(answer);
                token
            }
            None => std::future::pending().await,
        }
    }

    /// Passes an answer on to whoever waits for it.
    pub(crate) fn answer(&mut self, granted: &Granted) {
        for waiting in self.waiting.remove(&granted.token).into_iter().flatten() {
            // It may have been stopped meanwhile.
            let _ = waiting.send(granted.answer.clone());
        }
    }

    /// The attempt has ended: nobody waits any more.
    pub(crate) fn forget(&mut self, token: LeaseToken) {
        self.waiting.remove(&token);
    }
}

impl Desk {
    /// Where the files of this attempt are, and what may be done with them. The error is the engine's reason.
    pub(super) async fn ask(&self, token: LeaseToken) -> Result<(String, String), String> {
        let (answer, answered) = oneshot::channel();
        let gone = "the worker is stopping";
        self.0.send((token, answer)).await.map_err(|_| gone.to_owned())?;
        match answered.await {
            Ok(GrantAnswer::Granted { url, grant }) => Ok((url, grant)),
            Ok(GrantAnswer::Refused { reason }) => Err(reason),
            Err(_) => Err(gone.to_owned()),
        }
    }
}

/// The grant of one attempt, renewed when it runs out.
pub(super) struct Grant<'a> {
    pub(super) desk: &'a Desk,
    pub(super) token: LeaseToken,
    pub(super) text: tokio::sync::Mutex<String>,
}

impl Credentials for Grant<'_> {
    fn authorization(
        &self,
        fresh: bool,
    ) -> Pin<Box<dyn Future<Output = Result<Option<String>, String>> + Send + '_>> {
        Box::pin(async move {
            let mut text = self.text.lock().await;
            if fresh {
                *text = self.desk.ask(self.token).await?.1;
            }
            Ok(Some(format!("Bearer {text}")))
        })
    }
}
