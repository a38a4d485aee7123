//! The steps of the last entry, for `:trace` and `:explain`: a prompt is always traced.

use crate::runtime::trace::{Event, Sink};
use crate::text::trace;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// A step or undo, as it was told.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// The operation.
    pub(super) op: String,
    /// What it was for; of an undo, what was done.
    pub(super) intent: String,
    /// The system calls, as strace would show them, without their results.
    pub(super) calls: Vec<String>,
    /// What the kernel now holds, or the error.
    pub(super) effect: String,
    /// Whether it is an undo.
    pub(super) undo: bool,
    /// All of it, as `--trace` shows it.
    pub(super) text: String,
    /// How long it took.
    pub(super) took: Duration,
}

/// How many steps of one entry are kept.
const MOST: usize = 1000;

#[derive(Debug, Default)]
struct Inner {
    told: Vec<Told>,
    more: usize,
}

/// The steps of the last entry.
#[derive(Clone, Debug, Default)]
pub struct Recent(Rc<RefCell<Inner>>);

impl Recent {
    /// Begins a new entry.
    pub(super) fn clear(&self) {
        self.0.replace(Inner::default());
    }

    /// The steps, and how many more there were.
    pub(super) fn take(&self) -> (Vec<Told>, usize) {
        let inner = self.0.take();
        (inner.told, inner.more)
    }
}

impl Sink for Recent {
    fn event(&self, event: &Event<'_>) {
        let mut inner = self.0.borrow_mut();
        if inner.told.len() == MOST {
            inner.more += 1;
            return;
        }
        let text = trace::text(event);
        let told = match event {
            Event::Step(step) => Told {
                op: step.op.to_owned(),
                intent: step.intent.to_owned(),
                calls: step.calls.iter().map(|call| call.call.clone()).collect(),
                effect: match &step.effect {
                    Ok(effect) => (*effect).to_owned(),
                    Err(error) => format!("failed: {error}"),
                },
                undo: false,
                text,
                took: step.took,
            },
            Event::Undo(undo) => Told {
                op: undo.op.to_owned(),
                intent: undo.text.to_owned(),
                calls: undo.calls.iter().map(|call| call.call.clone()).collect(),
                effect: undo.error.map_or_else(|| "gone".to_owned(), |error| format!("failed: {error}")),
                undo: true,
                text,
                took: undo.took,
            },
        };
        inner.told.push(told);
    }
}
