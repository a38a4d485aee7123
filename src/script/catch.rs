//! One shape for every caught error.
//!
//! A `catch (e)` gets the value that was thrown; for an error of the language itself that is a map without `kind`,
//! `op` and the rest, and there is no hook to change it. So the tokenizer notes the names that scripts give to
//! caught errors, and the first time such a variable is read, a map of the language's is replaced in place.
//! Other variables cost one comparison.

use crate::script::error::shape_caught;
use rhai::{Dynamic, EvalContext, ImmutableString, Map, Token};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Seen {
    #[default]
    Nothing,
    Catch,
    Bracket,
}

/// The names of the variables of all `catch` that were read so far.
#[derive(Clone, Debug, Default)]
pub(super) struct CaughtNames(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    seen: Cell<Seen>,
    names: RefCell<Vec<ImmutableString>>,
}

impl CaughtNames {
    /// Takes note of one token: `catch`, `(`, name.
    pub(super) fn note(&self, token: &Token) {
        let next = match (self.0.seen.get(), token) {
            (_, Token::Catch) => Seen::Catch,
            (Seen::Catch, Token::LeftParen) => Seen::Bracket,
            (Seen::Bracket, Token::Identifier(name)) => {
                let mut names = self.0.names.borrow_mut();
                if !names.iter().any(|known| known == name.as_str()) {
                    names.push(name.as_str().into());
                }
                Seen::Nothing
            }
            _ => Seen::Nothing,
        };
        self.0.seen.set(next);
    }

    /// Gives the variable the shape of all errors if it holds a caught error of the language.
    pub(super) fn shape(&self, name: &str, mut context: EvalContext<'_, '_, '_, '_, '_, '_>) {
        if !self.0.names.borrow().iter().any(|known| known == name) {
            return;
        }
        let Some(value) = context.scope_mut().get_mut(name) else { return };
        let is_foreign = value.read_lock::<Map>().is_some_and(|map| map.contains_key("error"));
        if !is_foreign {
            return;
        }
        let shaped = shape_caught(value.flatten_clone());
        // A closure that uses the variable shares it.
        if let Some(mut shared) = value.write_lock::<Dynamic>() {
            *shared = shaped;
        }
    }
}
