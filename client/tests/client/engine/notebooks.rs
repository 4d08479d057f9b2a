//! Notebooks, as the real engine keeps them.

use std::ops::Bound;

use super::*;

/// A page is short, so that there are several.
const PAGE_NOTES: usize = 3;

pub(super) fn take(script: &mut Script, notebook: &str) -> Reply {
    let known = script.notebooks.entry(notebook.to_owned()).or_default();
    known.holder += 1;
    Reply::Notebook { holder: known.holder }
}

pub(super) fn write(script: &mut Script, written: &WriteNotes) -> Reply {
    let Some(known) = script.notebooks.get_mut(&written.notebook) else {
        return missing(&written.notebook);
    };
    if known.holder != written.holder {
        return Reply::Conflict(Invalid {
            field: "holder".into(),
            problem: "another has taken it".into(),
        });
    }
    for change in &written.changes {
        match &change.value {
            Some(value) => known.notes.insert(change.key.clone(), value.clone()),
            None => known.notes.remove(&change.key),
        };
    }
    Reply::Changed(written.changes.len() as u32)
}

pub(super) fn list(script: &Script, notebook: &str, after: &str) -> Reply {
    let Some(known) = script.notebooks.get(notebook) else {
        return missing(notebook);
    };
    let behind = (Bound::Excluded(after), Bound::Unbounded);
    let mut notes = known.notes.range::<str, _>(behind);
    let page: Vec<Note> = notes
        .by_ref()
        .take(PAGE_NOTES)
        .map(|(key, value)| Note {
            key: key.clone(),
            value: value.clone(),
        })
        .collect();
    Reply::Notes {
        notes: page,
        more: notes.next().is_some(),
    }
}

fn missing(notebook: &str) -> Reply {
    Reply::NotFound {
        what: format!("notebook {notebook}"),
    }
}
