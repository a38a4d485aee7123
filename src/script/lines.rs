//! The one source of an interactive run: which of its lines came from where.

use crate::script::error::Place;
use rhai::Position;
use std::cell::RefCell;

/// The name of the source of all entries, inside.
pub(super) const SESSION: &str = "<session>";

/// Which lines of the one source came from where.
#[derive(Debug, Default)]
pub struct Lines {
    segments: RefCell<Vec<Segment>>,
}

#[derive(Debug)]
struct Segment {
    /// The first line in the one source.
    first: usize,
    count: usize,
    name: String,
    /// The line of `name` that `first` is.
    line: usize,
}

impl Lines {
    /// Adds lines of `name`, the first being `line` there. Returns the first in the one source.
    pub(super) fn add(&self, name: &str, line: usize, count: usize) -> usize {
        let mut segments = self.segments.borrow_mut();
        let first = segments.last().map_or(1, |last| last.first + last.count);
        segments.push(Segment { first, count, name: name.to_owned(), line });
        first
    }

    /// The place that is meant by one in the one source; others stay.
    #[must_use]
    pub fn real(&self, place: Place) -> Place {
        let (true, Some(line)) = (place.source == SESSION, place.position.line()) else { return place };
        let segments = self.segments.borrow();
        // What is wrong at the very end is behind the last line.
        let Some(segment) = segments.iter().rev().find(|segment| segment.first <= line) else { return place };
        let real = u16::try_from(line - segment.first + segment.line).unwrap_or(u16::MAX);
        let column = place.position.position().and_then(|column| u16::try_from(column).ok()).unwrap_or(0);
        Place { source: segment.name.clone(), position: Position::new(real, column) }
    }
}
