//! `pool db verify` and `pool db rebuild`: the tables beside what the journal says.

use serde_json::{Value, json};
use sidecars_tables::{Beginning, Resume, Target};
use tokio::runtime::Runtime;
use wire_protocol::ids::Lsn;

use super::replay::replay;
use super::{Place, counts, current, listed, opened};
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{Output, Show, fields};

pub(super) fn verify(
    runtime: &Runtime,
    place: &Place,
    show: usize,
    output: &Output,
) -> Result<Exit, Failure> {
    let mut database = current(runtime, place)?;
    // What is written from here on is not seen.
    let frozen = runtime
        .block_on(database.freeze())
        .map_err(|error| place.failed(&error))?;
    let folder = tempfile::tempdir().map_err(|error| Failure::caused(Exit::Failed, "no folder", &error))?;
    let scratch = Place {
        journal: place.journal.clone(),
        target: Target::Sqlite(folder.path().join("expected.sqlite")),
    };
    let mut expected = opened(runtime, &scratch)?;
    let reached = replay(runtime, &scratch, &mut expected, frozen.at)?.upto;
    if reached < frozen.at {
        let ahead = format!(
            "{} is at record {}, the journal {} ends at {reached}",
            place.target,
            frozen.at,
            place.journal.display()
        );
        return Err(Failure::new(Exit::Conflict, ahead).cure("give the journal that it belongs to"));
    }
    let at = frozen.at;
    let mut differences = Vec::new();
    let compared = runtime
        .block_on(frozen.compare(&mut expected, |difference| {
            if differences.len() < show {
                differences.push(difference.to_string());
            }
        }))
        .map_err(|error| place.failed(&error))?;
    let equal = compared.differences == 0;
    output.one(&Verified {
        database: place.target.to_string(),
        at,
        rows: compared.rows,
        archived: compared.archived,
        beginning: compared.beginning,
        differences: compared.differences,
        shown: differences,
    })?;
    Ok(if equal { Exit::Ok } else { Exit::Failed })
}

pub(super) fn rebuild(runtime: &Runtime, place: &Place, output: &Output) -> Result<Exit, Failure> {
    let mut database = opened(runtime, place)?;
    let Resume { after, .. } = runtime
        .block_on(database.resume())
        .map_err(|error| place.failed(&error))?;
    if after > Lsn(0) {
        let full = format!("{} is not empty: it is at record {after}", place.target);
        return Err(Failure::new(Exit::Conflict, full)
            .cure("give an empty database, or let pool-persist go on with this"));
    }
    let replayed = replay(runtime, place, &mut database, Lsn(u64::MAX - 1))?;
    output.one(&Rebuilt {
        database: place.target.to_string(),
        upto: replayed.upto,
        beginning: replayed.beginning,
    })?;
    Ok(Exit::Ok)
}

struct Verified {
    database: String,
    at: Lsn,
    rows: Vec<(&'static str, u64)>,
    /// Events up to this record are archived; 0: none.
    archived: Lsn,
    beginning: Beginning,
    differences: u64,
    shown: Vec<String>,
}

impl Show for Verified {
    const KIND: &'static str = "db-verify";
    type Json<'a> = Value;
    const COLUMNS: &'static [&'static str] = &["database", "record", "differences"];

    fn json(&self) -> Value {
        json!({
            "database": self.database,
            "equal": self.differences == 0,
            "lsn": self.at,
            "rows": counts(&self.rows),
            "events_archived_upto_lsn": (self.archived > Lsn(0)).then_some(self.archived),
            "first_bag": first_bag(self.beginning),
            "differences": self.differences,
            "shown": self.shown,
        })
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.database.clone(),
            self.at.0.to_string(),
            self.differences.to_string(),
        ]
    }

    fn text(&self) -> String {
        let verdict = match self.differences {
            0 => "equal to the replay of the journal, row by row".to_owned(),
            1 => "1 row is not what the journal says".to_owned(),
            more => format!("{more} rows are not what the journal says"),
        };
        let archived = match self.archived {
            Lsn(0) => String::new(),
            Lsn(upto) => format!("events up to record {upto}, which were not compared"),
        };
        let hidden = self.differences - self.shown.len() as u64;
        let mut shown = self.shown.clone();
        if hidden > 0 {
            shown.push(format!("and {hidden} more; --show {}", self.differences));
        }
        fields(&[
            ("database", self.database.clone()),
            ("at record", self.at.0.to_string()),
            ("verdict", verdict),
            ("archived", archived),
            ("before", before(self.beginning, "not compared")),
            ("rows", listed(&self.rows)),
            ("differences", shown.join("\n")),
        ])
    }
}

struct Rebuilt {
    database: String,
    upto: Lsn,
    beginning: Beginning,
}

impl Show for Rebuilt {
    const KIND: &'static str = "db-rebuild";
    type Json<'a> = Value;
    const COLUMNS: &'static [&'static str] = &["database", "record"];

    fn json(&self) -> Value {
        json!({
            "database": self.database,
            "lsn": self.upto,
            "first_bag": first_bag(self.beginning),
        })
    }

    fn cells(&self) -> Vec<String> {
        vec![self.database.clone(), self.upto.0.to_string()]
    }

    fn text(&self) -> String {
        fields(&[
            ("database", self.database.clone()),
            ("at record", self.upto.0.to_string()),
            ("before", before(self.beginning, "not in the tables")),
            ("next", "pool-persist goes on from there".to_owned()),
        ])
    }
}

/// The first bag of which the journal still has all records; `None`: of all of them.
fn first_bag(beginning: Beginning) -> Option<u64> {
    (beginning != Beginning::WHOLE && beginning != Beginning::OPEN).then_some(beginning.bag.0)
}

/// What a journal that begins late does not know.
fn before(beginning: Beginning, what: &str) -> String {
    match beginning {
        Beginning::WHOLE => String::new(),
        Beginning::OPEN => format!("no bag has all its records in the journal; works are {what}"),
        Beginning { bag, .. } => {
            format!("the journal has no records of bags before {bag} any more; their works are {what}")
        }
    }
}
