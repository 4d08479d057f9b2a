//! What can be asked and changed, one method each.
//!
//! All of them may be repeated without harm, so a request whose answer was lost with the link is asked again.

use wire_protocol::category::Category;
use wire_protocol::client_link::{Command, CommandRequest, Query, QueryRequest, Selector, kind};
use wire_protocol::ids::{BagId, TokenId, WorkId, WorkerId};
use wire_protocol::joining::{NewToken, TokenView};
use wire_protocol::note::{Note, WriteNotes};
use wire_protocol::template::Priority;
use wire_protocol::units::Millis;
use wire_protocol::view::{
    BagView, Explanation, Filter, QueueView, Reply, StatusView, WorkDetail, WorkView, WorkerView,
};
use wire_protocol::worker_link::push_control;

use crate::connection::Client;
use crate::error::ClientError;
use crate::follow::name_of;
use crate::routes::Route;

/// One page of a listing of works.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorksPage {
    /// The works; a page may be short, even empty, without being the last.
    pub works: Vec<WorkView>,
    /// Ask again behind this work; `None`: that was all.
    pub next: Option<WorkId>,
}

macro_rules! answered {
    ($client:ident, $what:literal, $query:expr, $($pattern:pat => $value:expr),+) => {
        match $client.query($what, $query).await? {
            $($pattern => Ok($value),)+
            other => Err($client.broken(format!(concat!("it answered a query for ", $what, " with {}"), name_of(&other)))),
        }
    };
}

/// Queries.
///
/// # Errors
/// Every one of them: [`ClientError::NotFound`] where something is named that does not exist,
/// [`ClientError::Timeout`] or [`ClientError::Away`] when no answer comes in time.
#[expect(clippy::missing_errors_doc, reason = "they have the same ones, told above")]
impl Client {
    /// The pool as a whole.
    pub async fn status(&self) -> Result<StatusView, ClientError> {
        answered!(self, "status", Query::Status, Reply::Status(status) => status)
    }

    /// One work, with its result where it has one.
    pub async fn work(&self, work: WorkId) -> Result<WorkDetail, ClientError> {
        answered!(self, "work", Query::Work(work), Reply::Work(detail) => *detail)
    }

    /// Works behind `after` that pass the filter, at most `limit` (1 to
    /// [`PAGE_LEN_MAX`](wire_protocol::limits::PAGE_LEN_MAX)).
    pub async fn works(&self, filter: Filter, after: WorkId, limit: u32) -> Result<WorksPage, ClientError> {
        answered!(self, "works", Query::Works { filter: filter.clone(), after, limit },
            Reply::Works { works, next } => WorksPage { works, next })
    }

    /// One bag.
    pub async fn bag(&self, bag: BagId) -> Result<BagView, ClientError> {
        answered!(self, "bag", Query::Bag(bag), Reply::Bag(view) => view)
    }

    /// Bags behind `after`, at most `limit`; fewer: that was all.
    pub async fn bags(&self, after: BagId, limit: u32) -> Result<Vec<BagView>, ClientError> {
        answered!(self, "bags", Query::Bags { after, limit }, Reply::Bags(bags) => bags)
    }

    /// One worker.
    pub async fn worker(&self, worker: WorkerId) -> Result<WorkerView, ClientError> {
        answered!(self, "worker", Query::Worker(worker), Reply::Worker(view) => view)
    }

    /// Workers behind `after`, at most `limit`; fewer: that was all.
    pub async fn workers(&self, after: WorkerId, limit: u32) -> Result<Vec<WorkerView>, ClientError> {
        answered!(self, "workers", Query::Workers { after, limit }, Reply::Workers(workers) => workers)
    }

    /// Enrolment tokens behind `after`, at most `limit`; fewer: that was all. Only for operators.
    pub async fn tokens(&self, after: TokenId, limit: u32) -> Result<Vec<TokenView>, ClientError> {
        answered!(self, "tokens", Query::Tokens { after, limit }, Reply::Tokens(tokens) => tokens)
    }

    /// All queues that have works.
    pub async fn queues(&self) -> Result<Vec<QueueView>, ClientError> {
        answered!(self, "queues", Query::Queues, Reply::Queues(queues) => queues)
    }

    /// The categories that works may name, in the operator's order.
    pub async fn categories(&self) -> Result<Vec<Category>, ClientError> {
        answered!(self, "categories", Query::Categories, Reply::Categories(categories) => categories)
    }

    /// Why a work is where it is.
    pub async fn explain_work(&self, work: WorkId) -> Result<Explanation, ClientError> {
        answered!(self, "explanation", Query::ExplainWork(work), Reply::Explanation(explanation) => explanation)
    }

    /// Why a worker does what it does.
    pub async fn explain_worker(&self, worker: WorkerId) -> Result<Explanation, ClientError> {
        answered!(self, "explanation", Query::ExplainWorker(worker), Reply::Explanation(explanation) => explanation)
    }

    async fn query(&self, what: &'static str, query: Query) -> Result<Reply, ClientError> {
        let ask = self.ask(
            what,
            |request, out| {
                push_control(
                    out,
                    kind::QUERY,
                    &QueryRequest {
                        request,
                        query: query.clone(),
                    },
                )
            },
            Route::Answer,
        );
        Ok(ask.await?.0)
    }
}

/// Commands. Each answers how many works or workers it changed; a repeat changes none.
///
/// # Errors
/// Every one of them: [`ClientError::NotFound`], [`ClientError::Conflict`] where the command does not fit the
/// state of what it is for, [`ClientError::Timeout`] or [`ClientError::Away`] when no answer comes in time.
#[expect(clippy::missing_errors_doc, reason = "they have the same ones, told above")]
impl Client {
    /// Works that are not done become cancelled; those that run are stopped.
    pub async fn cancel(&self, works: Selector) -> Result<u32, ClientError> {
        self.command("cancel", Command::Cancel(works)).await
    }

    /// Works that failed, were cancelled or expired are queued again with a fresh budget of attempts.
    pub async fn retry(&self, works: Selector) -> Result<u32, ClientError> {
        self.command("retry", Command::Retry(works)).await
    }

    /// Works of the bag that wait or come go with another priority.
    pub async fn prioritise(&self, bag: BagId, priority: Priority) -> Result<u32, ClientError> {
        self.command("prioritise", Command::Prioritise(bag, priority))
            .await
    }

    /// The bag takes no more rows; works that it has go on. It is done when they are.
    pub async fn seal(&self, bag: BagId) -> Result<u32, ClientError> {
        self.command("seal", Command::Seal(bag)).await
    }

    /// The worker gets no further work.
    pub async fn cordon(&self, worker: WorkerId) -> Result<u32, ClientError> {
        self.command("cordon", Command::Cordon(worker)).await
    }

    /// The worker gets work again.
    pub async fn uncordon(&self, worker: WorkerId) -> Result<u32, ClientError> {
        self.command("uncordon", Command::Uncordon(worker)).await
    }

    /// Makes an enrolment token, of which the engine is told the digest alone. It is durable; a repeat makes no other.
    pub async fn create_token(&self, new: NewToken) -> Result<TokenView, ClientError> {
        match self.ask_for("create token", Command::CreateToken(new)).await? {
            Reply::Token(view) => Ok(view),
            other => Err(self.broken(format!("it made a token and answered {}", name_of(&other)))),
        }
    }

    /// Takes the notebook of this name: the number under which to write into it. Whoever has taken it before is refused
    /// from now on.
    pub async fn take_notebook(&self, notebook: &str) -> Result<u64, ClientError> {
        let take = Command::TakeNotebook(notebook.to_owned());
        match self.ask_for("take notebook", take).await? {
            Reply::Notebook { holder } => Ok(holder),
            other => Err(self.broken(format!("it gave a notebook and answered {}", name_of(&other)))),
        }
    }

    /// Writes notes, all or none; they are durable.
    ///
    /// # Errors
    /// [`ClientError::Conflict`]: another process has taken the notebook, or a note is too long.
    pub async fn write_notes(&self, notes: WriteNotes) -> Result<(), ClientError> {
        self.command("write notes", Command::WriteNotes(notes))
            .await
            .map(drop)
    }

    /// All notes of a notebook, in order of their keys.
    ///
    /// # Errors
    /// [`ClientError::NotFound`]: nobody has taken it yet.
    pub async fn notes(&self, notebook: &str) -> Result<Vec<Note>, ClientError> {
        self.notes_under(notebook, "").await
    }

    /// The same of those notes whose keys begin so and go on behind that. Of the others at most a page is read.
    ///
    /// # Errors
    /// As [`Self::notes`].
    pub async fn notes_under(&self, notebook: &str, prefix: &str) -> Result<Vec<Note>, ClientError> {
        let mut all: Vec<Note> = Vec::new();
        let mut after = prefix.to_owned();
        loop {
            let query = Query::Notes {
                notebook: notebook.to_owned(),
                after: after.clone(),
            };
            let (notes, more) =
                answered!(self, "notes", query, Reply::Notes { notes, more } => (notes, more))?;
            let last = notes.last().map(|note| note.key.clone());
            all.extend(notes.into_iter().take_while(|note| note.key.starts_with(prefix)));
            match last {
                Some(last) if more && last.starts_with(prefix) => after = last,
                _ => return Ok(all),
            }
        }
    }

    /// The token enrols nobody any more.
    pub async fn revoke_token(&self, token: TokenId) -> Result<u32, ClientError> {
        self.command("revoke token", Command::RevokeToken(token)).await
    }

    /// A worker that waits for approval gets work; one that was revoked may join again.
    pub async fn approve(&self, worker: WorkerId) -> Result<u32, ClientError> {
        self.command("approve", Command::Approve(worker)).await
    }

    /// The worker is out, with its certificate and what it runs, until it is approved again.
    pub async fn revoke(&self, worker: WorkerId) -> Result<u32, ClientError> {
        self.command("revoke", Command::Revoke(worker)).await
    }

    /// The worker finishes what runs, gives back the rest and leaves.
    pub async fn drain(&self, worker: WorkerId) -> Result<u32, ClientError> {
        self.command("drain", Command::Drain(worker)).await
    }

    /// As [`Self::drain`]; what still runs after this time is stopped and given back, which uses up none of its attempts.
    /// Again with another time, it changes the deadline.
    pub async fn drain_within(&self, worker: WorkerId, within: Millis) -> Result<u32, ClientError> {
        self.command("drain", Command::DrainWithin(worker, within)).await
    }

    /// The engine takes a snapshot now.
    pub async fn snapshot(&self) -> Result<u32, ClientError> {
        self.command("snapshot", Command::Snapshot).await
    }

    async fn command(&self, what: &'static str, command: Command) -> Result<u32, ClientError> {
        match self.ask_for(what, command).await? {
            Reply::Changed(count) => Ok(count),
            other => Err(self.broken(format!("it answered the command {what} with {}", name_of(&other)))),
        }
    }

    async fn ask_for(&self, what: &'static str, command: Command) -> Result<Reply, ClientError> {
        let ask = self.ask(
            what,
            |request, out| {
                push_control(
                    out,
                    kind::COMMAND,
                    &CommandRequest {
                        request,
                        command: command.clone(),
                    },
                )
            },
            Route::Answer,
        );
        Ok(ask.await?.0)
    }
}
