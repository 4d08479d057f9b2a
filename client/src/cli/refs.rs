//! How works, bags and workers are named on the command line.

use std::str::FromStr;

use client::{Client, ClientError};
use wire_protocol::ids::{BagId, WorkId, WorkerId};
use wire_protocol::limits::PAGE_LEN_MAX;
use wire_protocol::view::BagView;

/// `12`, `w12` or `last`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WorkRef {
    Id(WorkId),
    Last,
}

/// `3`, `b3` or `last`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BagRef {
    Id(BagId),
    Last,
}

/// `2`, `k2` or a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum WorkerRef {
    Id(WorkerId),
    Name(String),
}

fn number<N: FromStr>(text: &str, prefix: char) -> Option<N> {
    text.strip_prefix(prefix).unwrap_or(text).parse().ok()
}

impl FromStr for WorkRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match number(text, 'w') {
            Some(id) => Ok(Self::Id(WorkId(id))),
            None if text == "last" => Ok(Self::Last),
            None => Err(format!("`{text}` is no work; write 12, w12 or last")),
        }
    }
}

impl FromStr for BagRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match number(text, 'b') {
            Some(id) => Ok(Self::Id(BagId(id))),
            None if text == "last" => Ok(Self::Last),
            None => Err(format!("`{text}` is no bag; write 3, b3 or last")),
        }
    }
}

impl FromStr for WorkerRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match number(text, 'k') {
            Some(id) => Ok(Self::Id(WorkerId(id))),
            None if text.is_empty() => {
                Err("a worker's name is not empty; write 2, k2 or its name".to_owned())
            }
            None => Ok(Self::Name(text.to_owned())),
        }
    }
}

impl WorkRef {
    pub(crate) async fn resolve(self, client: &Client) -> Result<WorkId, ClientError> {
        match self {
            Self::Id(work) => Ok(work),
            Self::Last => {
                let bag = last_bag(client).await?;
                match bag.tally.accepted() {
                    0 => Err(ClientError::NotFound {
                        what: "the last work".to_owned(),
                    }),
                    rows => Ok(bag.first.offset(rows - 1)),
                }
            }
        }
    }
}

impl BagRef {
    pub(crate) async fn resolve(self, client: &Client) -> Result<BagId, ClientError> {
        match self {
            Self::Id(bag) => Ok(bag),
            Self::Last => Ok(last_bag(client).await?.bag),
        }
    }
}

impl WorkerRef {
    pub(crate) async fn resolve(&self, client: &Client) -> Result<WorkerId, ClientError> {
        let name = match self {
            Self::Id(worker) => return Ok(*worker),
            Self::Name(name) => name,
        };
        let mut after = WorkerId(0);
        loop {
            let page = client.workers(after, PAGE_LEN_MAX).await?;
            if let Some(worker) = page
                .iter()
                .find(|worker| worker.name == *name || worker.uid == *name)
            {
                return Ok(worker.worker);
            }
            match page.last() {
                Some(last) if page.len() == PAGE_LEN_MAX as usize => after = last.worker,
                _ => {
                    return Err(ClientError::NotFound {
                        what: format!("a worker with the name `{name}`"),
                    });
                }
            }
        }
    }
}

/// The newest bag: listings go forward only, so this reads all of them, a thousand at a time.
async fn last_bag(client: &Client) -> Result<BagView, ClientError> {
    let mut last: Option<BagView> = None;
    loop {
        let after = last.as_ref().map_or(BagId(0), |bag| bag.bag);
        let mut page = client.bags(after, PAGE_LEN_MAX).await?;
        let full = page.len() == PAGE_LEN_MAX as usize;
        last = page.pop().or(last);
        match last {
            Some(bag) if !full => return Ok(bag),
            None => {
                return Err(ClientError::NotFound {
                    what: "a last bag".to_owned(),
                });
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_with_and_without_their_letter() {
        assert_eq!("12".parse(), Ok(WorkRef::Id(WorkId(12))));
        assert_eq!("w12".parse(), Ok(WorkRef::Id(WorkId(12))));
        assert_eq!("last".parse(), Ok(WorkRef::Last));
        assert_eq!("b3".parse(), Ok(BagRef::Id(BagId(3))));
        assert_eq!("k2".parse(), Ok(WorkerRef::Id(WorkerId(2))));
        assert_eq!("worker-1".parse(), Ok(WorkerRef::Name("worker-1".to_owned())));
        for wrong in ["", "w", "b12", "-1", "1.5", "first"] {
            assert!(wrong.parse::<WorkRef>().is_err(), "{wrong}");
        }
    }
}
