//! Names of images: the grammar that registries and other tools use, checked before a name goes anywhere.
//!
//! `[host[:port]/]path[/path…][:tag][@sha256:…]`, all in all as the distribution project's reference grammar has it,
//! without its defaults: no registry is put in front of a name. The tag is `latest` when none is given.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::units::is_hex;
use std::fmt;

/// The longest name, without tag and digest.
const NAME_MAX: usize = 255;
const TAG_MAX: usize = 128;
/// The fewest hexadecimal digits that name an image by its digest.
const PREFIX_MIN: usize = 12;

/// A valid name with its tag: `localhost/demo:1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    name: String,
    tag: String,
}

impl Reference {
    /// Parses `name[:tag]`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] that says which part is wrong.
    pub fn parse(text: &str, op: &'static str) -> Result<Self> {
        if text.contains('@') {
            return Err(invalid(text, op, "a digest cannot be given to an image, only a name and a tag"));
        }
        let (name, tag) = split_tag(text);
        check_name(name).map_err(|what| invalid(text, op, what))?;
        let tag = tag.unwrap_or("latest");
        check_tag(tag).map_err(|what| invalid(text, op, what))?;
        Ok(Self { name: name.to_owned(), tag: tag.to_owned() })
    }

    /// The name without the tag.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tag.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.tag)
    }
}

/// What a user may write to mean an image that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// By name and tag.
    Tag(Reference),
    /// By the first digits of its digest, or all of them.
    Digest(String),
}

impl Wanted {
    /// Parses a name, `sha256:…` with at least 12 digits, or `name@sha256:…`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] that says which part is wrong.
    pub fn parse(text: &str, op: &'static str) -> Result<Self> {
        let digest = match text.split_once('@') {
            Some((name, digest)) => {
                let (name, _) = split_tag(name);
                check_name(name).map_err(|what| invalid(text, op, what))?;
                let hex = digest.strip_prefix("sha256:").filter(|hex| hex.len() == 64);
                Some(hex.ok_or_else(|| {
                    invalid(text, op, "after `@` comes `sha256:` with 64 hexadecimal digits")
                })?)
            }
            None => text.strip_prefix("sha256:"),
        };
        let Some(hex) = digest else { return Reference::parse(text, op).map(Self::Tag) };
        if !is_hex(hex) || !(PREFIX_MIN..=64).contains(&hex.len()) {
            let what = format!("a digest is `sha256:` with {PREFIX_MIN} to 64 lower-case hexadecimal digits");
            return Err(invalid(text, op, what));
        }
        Ok(Self::Digest(hex.to_owned()))
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(reference) => reference.fmt(f),
            Self::Digest(hex) => write!(f, "sha256:{hex}"),
        }
    }
}

fn invalid(text: &str, op: &'static str, what: impl Into<String>) -> Error {
    // A name of megabytes would drown the message.
    let shown: String = text.chars().take(80).collect();
    let dots = if shown.len() < text.len() { "…" } else { "" };
    Error::new(ErrorKind::InvalidArgument, op, what)
        .subject(format!("image {shown:?}{dots}"))
        .hint("an image name looks like `localhost/demo:1`: lower-case path, then a tag")
}

/// The tag starts at the last colon, unless that belongs to a port.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (text, None),
    }
}

fn check_tag(tag: &str) -> Result<(), String> {
    if tag.is_empty() {
        return Err("the tag after `:` is empty".into());
    }
    if tag.len() > TAG_MAX {
        return Err(format!("the tag has {} characters; {TAG_MAX} are allowed", tag.len()));
    }
    let first = tag.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let rest = tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if first && rest {
        return Ok(());
    }
    Err(format!("the tag {tag:?} must begin with a letter, digit or `_` and go on with those, `.` and `-`"))
}

fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("the name is empty".into());
    }
    if name.len() > NAME_MAX {
        return Err(format!("the name has {} characters; {NAME_MAX} are allowed", name.len()));
    }
    let (host, path) = match name.split_once('/') {
        Some((host, path)) if host == "localhost" || host.contains(['.', ':']) => (Some(host), path),
        _ => (None, name),
    };
    if let Some(host) = host {
        check_host(host)?;
    }
    path.split('/').try_for_each(check_component)
}

fn check_host(host: &str) -> Result<(), String> {
    let (labels, port) = host.split_once(':').map_or((host, None), |(labels, port)| (labels, Some(port)));
    if let Some(port) = port
        && (port.is_empty() || port.len() > 5 || !port.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return Err(format!("{port:?} is not a port"));
    }
    let label_ok = |label: &str| {
        label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if labels.split('.').all(label_ok) { Ok(()) } else { Err(format!("{labels:?} is not a host name")) }
}

/// Letters and digits with single separators between them: `.`, `_`, `__`, or any number of `-`.
fn check_component(part: &str) -> Result<(), String> {
    if part.is_empty() {
        return Err("the name has an empty part: a `/` too many".into());
    }
    if part.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(format!("{part:?} has upper-case letters"));
    }
    if let Some(bad) =
        part.chars().find(|c| !c.is_ascii_lowercase() && !c.is_ascii_digit() && !"._-".contains(*c))
    {
        return Err(format!("the character {bad:?} is not allowed in a name"));
    }
    let separators = part.split(|c: char| c.is_ascii_alphanumeric()).filter(|text| !text.is_empty());
    let ends = |text: &str| text.starts_with(['.', '_', '-']) || text.ends_with(['.', '_', '-']);
    let single = |text: &str| matches!(text, "." | "_" | "__") || text.bytes().all(|byte| byte == b'-');
    if ends(part) || !separators.into_iter().all(single) {
        return Err(format!("{part:?} must have letters or digits between its separators and at both ends"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        for (text, name, tag) in [
            ("demo", "demo", "latest"),
            ("localhost/demo:1", "localhost/demo", "1"),
            ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b", "latest"),
            ("reg.example.org:5000/a/b-c__d:v1.2-x_", "reg.example.org:5000/a/b-c__d", "v1.2-x_"),
            ("demo:5000", "demo", "5000"),
        ] {
            let found = Reference::parse(text, "t").unwrap();
            assert_eq!((found.name(), found.tag()), (name, tag), "{text}");
            assert_eq!(Reference::parse(&found.to_string(), "t").unwrap(), found);
        }
    }

    #[test]
    fn bad_names_are_refused() {
        let long = "a".repeat(300);
        let tag = format!("a:{}", "t".repeat(129));
        for text in [
            "",
            "../../x",
            "a//b",
            "A/b",
            "x:..",
            "x:",
            ":1",
            "a\0b",
            "a b",
            "a/",
            "/a",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "a@b",
            "x:1:2",
            "local host/x",
            "localhost/",
            "h:port/x",
            "é",
            "a.b-/c:1/",
            &long,
            &tag,
        ] {
            let error = Reference::parse(text, "t").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text:?}");
            assert!(error.to_string().len() < 300, "{error}");
        }
    }

    #[test]
    fn digests_are_told_from_names() {
        let hex = "0123456789abcdef".repeat(4);
        let by = |text: &str| Wanted::parse(text, "t");
        assert_eq!(by(&format!("sha256:{hex}")).unwrap(), Wanted::Digest(hex.clone()));
        assert_eq!(by("sha256:0123456789ab").unwrap(), Wanted::Digest("0123456789ab".into()));
        assert_eq!(by(&format!("localhost/demo:1@sha256:{hex}")).unwrap(), Wanted::Digest(hex));
        assert!(matches!(by("sha256/x").unwrap(), Wanted::Tag(_)));
        for text in ["sha256:0123", "sha256:0123456789AB", "x@sha256:0123456789ab", "X@y"] {
            assert!(by(text).is_err(), "{text}");
        }
    }
}
