//! The text of scripts, and from text to what the engine runs.

use crate::error::{Error, ErrorKind, Result};
use crate::script::engine;
use crate::script::shell::Shell;
use rhai::{AST, ASTNode, Engine, ParseError, Stmt};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

const OP: &str = "script";

/// Reads a script.
///
/// # Errors
/// When it cannot be read, or is not UTF-8.
pub fn read(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|source| {
        Error::io(OP, "cannot read the script", source).subject(path.display()).path(path)
    })?;
    decode(bytes, &path.display().to_string())
}

/// The text of a script's bytes, which came from `name`; without the mark that some editors put in front of UTF-8.
///
/// # Errors
/// When they are not UTF-8.
pub fn decode(bytes: Vec<u8>, name: &str) -> Result<String> {
    let marked = bytes.strip_prefix("\u{feff}".as_bytes()).map(<[u8]>::to_vec);
    String::from_utf8(marked.unwrap_or(bytes)).map_err(|error| {
        let before = error.utf8_error().valid_up_to();
        let what = format!("the script is not UTF-8: the byte at offset {before} is not");
        Error::new(ErrorKind::InvalidArgument, OP, what).subject(name)
    })
}

/// Compiles a script. Its text is remembered under `name` for error messages.
///
/// # Errors
/// When it does not parse, or names a variable or module that does not exist.
pub fn compile(engine: &Engine, shell: &Shell, name: &str, text: &str) -> Result<AST, ParseError> {
    shell.remember(name, text);
    let mut ast = engine.compile(without_shebang(text))?;
    ast.set_source(name);
    for function in ast.iter_fn_def().filter(|function| function.name.starts_with(CLOSURE)) {
        CLOSURES.with_borrow_mut(|known| {
            let home = known.entry(function.name.to_string()).or_insert_with(|| Some(name.to_owned()));
            if home.as_deref() != Some(name) {
                *home = None;
            }
        });
    }
    Ok(ast)
}

/// How the language names closures: by this and a number that what is written in them gives.
const CLOSURE: &str = "anon$";

thread_local! {
    /// In which source each closure is written; nothing where the same is in two.
    static CLOSURES: RefCell<BTreeMap<String, Option<String>>> = const { RefCell::new(BTreeMap::new()) };
}

/// The source that a function is written in, where it is a closure: the language takes one for a part of what calls it.
#[must_use]
pub fn home_of(function: &str) -> Option<String> {
    CLOSURES.with_borrow(|known| known.get(function).cloned().flatten())
}

/// The lines at which statements of a script begin, in order.
///
/// # Errors
/// When it does not parse.
pub fn statement_lines(text: &str) -> Result<Vec<usize>, ParseError> {
    let ast = engine::parser().compile(without_shebang(text))?;
    let mut lines = std::collections::BTreeSet::new();
    ast.walk(&mut |path| {
        if let Some(ASTNode::Stmt(statement)) = path.last()
            && !matches!(statement, Stmt::Noop(_) | Stmt::Block(..))
        {
            lines.extend(statement.position().line());
        }
        true
    });
    Ok(lines.into_iter().collect())
}

/// The text with a `#!` line blanked, so that all positions stay.
#[must_use]
pub fn without_shebang(text: &str) -> &str {
    if !text.starts_with("#!") {
        return text;
    }
    text.find('\n').map_or("", |end| &text[end..])
}
