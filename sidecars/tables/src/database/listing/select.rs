//! A statement in the making, and what its question marks stand for.

use std::collections::BTreeSet;

use wire_protocol::view::WorkState;

use crate::database::session::{Session, Value, made};
use crate::database::writer::work_state;
use crate::database::{DatabaseError, sql};
use crate::query::{Order, WorkFilter};

/// A statement in the making, and what its question marks stand for.
#[derive(Clone, Debug)]
pub(in crate::database) struct Select {
    pub(in crate::database) text: String,
    pub(in crate::database) values: Vec<Value>,
}

impl Select {
    pub(super) fn new(text: String) -> Self {
        Self {
            text,
            values: Vec::new(),
        }
    }

    pub(super) fn and(&mut self, condition: &str, value: Value) {
        self.and_all(condition, vec![value]);
    }

    pub(super) fn and_all(&mut self, condition: &str, values: Vec<Value>) {
        let word = if self.values.is_empty() { "WHERE" } else { "AND" };
        self.text.push_str(&format!(" {word} {condition}"));
        self.values.extend(values);
    }

    pub(super) fn order(&mut self, column: &str, order: Order, limit: usize) {
        let order = match order {
            Order::NewestFirst => "DESC",
            Order::OldestFirst => "ASC",
        };
        self.text.push_str(&format!(" ORDER BY {column} {order} LIMIT ?"));
        self.values.push(Value::Int(limit as i64));
    }

    /// One for each state that is asked for, so that each gives its works in their order.
    pub(super) fn for_each_state(self, filter: &WorkFilter) -> Vec<Self> {
        let states: BTreeSet<_> = filter.states.iter().copied().collect();
        if states.is_empty() {
            return vec![self];
        }
        let of = |state| {
            let mut select = self.clone();
            select.and("w.state = ?", text(state));
            select
        };
        states.into_iter().map(of).collect()
    }

    /// Texts are made of this program's own words; all that was asked for is in the values.
    pub(super) async fn rows(&self, session: &mut Session) -> Result<Vec<Vec<Value>>, DatabaseError> {
        let mut arguments = session.arguments();
        for value in &self.values {
            arguments.value(value);
        }
        let rows = session.values(made(self.text.as_str().into()), arguments).await;
        rows.map_err(sql("read"))
    }
}

/// As the tables have it.
pub(super) fn text(state: WorkState) -> Value {
    Value::Text(work_state(state).to_owned())
}
