//! The text of scripts, and from text to what the engine runs.

use crate::error::{Error, ErrorKind, Result};
use crate::script::engine;
use crate::script::shell::Shell;
use rhai::{AST, ASTNode, Engine, ParseError, Stmt};
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

/// The text of a script's bytes, which came from `name`.
///
/// # Errors
/// When they are not UTF-8.
pub fn decode(bytes: Vec<u8>, name: &str) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| {
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
    Ok(ast)
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
