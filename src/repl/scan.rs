//! Reads a line as the language would, as far as an editor needs it: what is a word, a text, a comment, and in which
//! brackets the cursor is. Broken input is the usual case here: nothing is an error.

use std::ops::Range;

/// What a piece of a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name, or a word of the language.
    Word,
    /// A number.
    Number,
    /// A text or a character; `closed` when its end is there.
    Text {
        /// The quote it begins with.
        quote: char,
        /// Whether its end is there.
        closed: bool,
    },
    /// A comment; `closed` when its end is there, or it ends with the line.
    Comment {
        /// Whether its end is there.
        closed: bool,
    },
    /// An operator, bracket or separator.
    Symbol,
}

/// A piece of a line: what it is, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// What it is.
    pub(super) kind: Kind,
    /// Its bytes.
    pub(super) range: Range<usize>,
}

impl Token {
    /// Its text.
    pub(super) fn text<'a>(&self, line: &'a str) -> &'a str {
        &line[self.range.clone()]
    }
}

/// Symbols of more than one character, longest first.
const SYMBOLS: &[&str] = &[
    "<<=", ">>=", "**=", "..=", "::", "#{", "${", "=>", "==", "!=", "<=", ">=", "&&", "||", "??", "?.", "?[",
    "..", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<", ">>", "**", "->",
];

/// The pieces of a line, without the space between them. Code inside `` `…${…}…` `` is read as code.
pub(super) fn tokens(line: &str) -> Vec<Token> {
    let mut scanner = Scanner { line, at: 0, tokens: Vec::new(), templates: Vec::new() };
    while scanner.step() {}
    scanner.tokens
}

struct Scanner<'a> {
    line: &'a str,
    at: usize,
    tokens: Vec<Token>,
    /// For each open `${`: how many braces are open inside it.
    templates: Vec<usize>,
}

impl Scanner<'_> {
    fn rest(&self) -> &str {
        &self.line[self.at..]
    }

    fn push(&mut self, kind: Kind, length: usize) {
        self.tokens.push(Token { kind, range: self.at..self.at + length });
        self.at += length;
    }

    fn step(&mut self) -> bool {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return false };
        match first {
            c if c.is_whitespace() => self.at += c.len_utf8(),
            '/' if rest.starts_with("//") => {
                let length = rest.find('\n').unwrap_or(rest.len());
                self.push(Kind::Comment { closed: true }, length);
            }
            '/' if rest.starts_with("/*") => self.comment(),
            '"' | '\'' => self.text(first),
            '`' => self.template(1),
            c if c.is_ascii_digit() => {
                let length = number(rest);
                self.push(Kind::Number, length);
            }
            c if is_word(c) => {
                let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                self.push(Kind::Word, length);
            }
            _ => self.symbol(first),
        }
        true
    }

    /// Comments of this kind are nested.
    fn comment(&mut self) {
        let rest = self.rest();
        let (mut depth, mut at) = (0usize, 0);
        while at < rest.len() {
            if rest[at..].starts_with("/*") {
                (depth, at) = (depth + 1, at + 2);
            } else if rest[at..].starts_with("*/") {
                (depth, at) = (depth - 1, at + 2);
                if depth == 0 {
                    return self.push(Kind::Comment { closed: true }, at);
                }
            } else {
                at += char_len(rest, at);
            }
        }
        self.push(Kind::Comment { closed: false }, at);
    }

    fn text(&mut self, quote: char) {
        let rest = self.rest();
        let mut at = 1;
        while at < rest.len() {
            match rest[at..].chars().next() {
                Some('\\') => at = (at + 1 + char_len(rest, at + 1)).min(rest.len()),
                Some(c) if c == quote => return self.push(Kind::Text { quote, closed: true }, at + 1),
                // A text ends with its line, unless the line ends with a backslash.
                Some('\n') => break,
                _ => at += char_len(rest, at),
            }
        }
        self.push(Kind::Text { quote, closed: false }, at);
    }

    /// A text in back-ticks, from its start or from the end of code inside it, up to its end or to code.
    fn template(&mut self, skip: usize) {
        let rest = self.rest();
        let mut at = skip;
        while at < rest.len() {
            if rest[at..].starts_with("${") {
                self.push(Kind::Text { quote: '`', closed: true }, at);
                self.push(Kind::Symbol, 2);
                return self.templates.push(0);
            }
            if rest[at..].starts_with('`') {
                return self.push(Kind::Text { quote: '`', closed: true }, at + 1);
            }
            at += char_len(rest, at);
        }
        self.push(Kind::Text { quote: '`', closed: false }, at);
    }

    fn symbol(&mut self, first: char) {
        match (first, self.templates.last_mut()) {
            ('{', Some(open)) => *open += 1,
            ('}', Some(0)) => {
                self.templates.pop();
                self.push(Kind::Symbol, 1);
                return self.template(0);
            }
            ('}', Some(open)) => *open -= 1,
            _ => {}
        }
        let known = SYMBOLS.iter().find(|symbol| self.rest().starts_with(**symbol));
        if let (Some(&"#{"), Some(open)) = (known, self.templates.last_mut()) {
            *open += 1;
        }
        self.push(Kind::Symbol, known.map_or(first.len_utf8(), |symbol| symbol.len()));
    }
}

fn char_len(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(1, char::len_utf8)
}

/// Whether a character can be part of a name.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of the number at the start: `1..5` is not one.
fn number(text: &str) -> usize {
    let digits = |text: &str| text.find(|c| !is_word(c)).unwrap_or(text.len());
    let whole = digits(text);
    match text[whole..].strip_prefix('.') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => whole + 1 + digits(rest),
        _ => whole,
    }
}

/// Whether a text or comment of more lines is open at the end, which the parser does not always tell.
pub(super) fn is_open(tokens: &[Token]) -> bool {
    tokens.last().is_some_and(|token| {
        matches!(token.kind, Kind::Comment { closed: false } | Kind::Text { quote: '`', closed: false })
    })
}

/// Whether a bracket is open at the end.
pub(super) fn has_open_bracket(line: &str, tokens: &[Token]) -> bool {
    let depth =
        tokens.iter().filter(|token| token.kind == Kind::Symbol).fold(0i64, |depth, token| {
            match token.text(line) {
                "(" | "[" | "?[" | "{" | "#{" | "${" => depth + 1,
                ")" | "]" | "}" => depth - 1,
                _ => depth,
            }
        });
    depth > 0
}

/// An open bracket around the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// `(`, `[`, `{`, `#{` or `${`.
    pub(super) bracket: String,
    /// For `(`, what is called: `net::veth`, or the chain `box.exec`; empty when it is no call.
    pub(super) callee: String,
    /// How many commas came since.
    pub(super) commas: usize,
    /// In a map, the key whose value is being written.
    pub(super) key: Option<String>,
    /// In a map, the keys that are there.
    pub(super) keys: Vec<String>,
}

/// What is around the cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Context {
    /// The open brackets, outermost first.
    pub(super) frames: Vec<Frame>,
    /// The chain of names and points that ends at the cursor: `net::ve`, `box.ns.`; without the word itself.
    pub(super) chain: String,
    /// The word at the cursor, up to it.
    pub(super) word: String,
    /// Where the word starts.
    pub(super) start: usize,
    /// The quote of the text that the cursor is in; `word` is then all of the text so far.
    pub(super) quote: Option<char>,
    /// Whether the cursor is in a comment.
    pub(super) comment: bool,
    /// The variable that a method is called on is the result of this call: `ns::new([…]).`.
    pub(super) result_of: Option<String>,
}

/// Looks at a line up to the cursor.
pub(super) fn context(line: &str, pos: usize) -> Context {
    let before = &line[..pos];
    let tokens = tokens(before);
    let mut context = Context { start: pos, ..Context::default() };
    let mut code = &tokens[..];
    if let Some((last, earlier)) = tokens.split_last().filter(|(last, _)| last.range.end == pos) {
        match last.kind {
            Kind::Comment { .. } => context.comment = true,
            Kind::Text { quote, closed }
                if !closed || (quote == '`' && !last.text(before).ends_with('`')) =>
            {
                context.quote = Some(quote);
                context.start = last.range.start + usize::from(last.text(before).starts_with(quote));
                context.word = before[context.start..].to_owned();
                code = earlier;
            }
            Kind::Word | Kind::Number => {
                context.start = last.range.start;
                context.word = last.text(before).to_owned();
                code = earlier;
            }
            _ => {}
        }
    }
    context.frames = frames(before, code);
    if context.quote.is_none() {
        (context.chain, context.result_of) = chain(before, code);
    }
    context
}

fn frames(line: &str, tokens: &[Token]) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let text = token.text(line);
        match (token.kind, text) {
            (Kind::Symbol, "(" | "[" | "?[" | "{" | "#{" | "${") => {
                let callee = if text == "(" { callee(line, &tokens[..index]) } else { String::new() };
                let bracket = text.to_owned();
                frames.push(Frame { bracket, callee, commas: 0, key: None, keys: Vec::new() });
            }
            (Kind::Symbol, ")" | "]" | "}") => {
                frames.pop();
            }
            (Kind::Symbol, ",") => {
                if let Some(frame) = frames.last_mut() {
                    frame.commas += 1;
                    frame.key = None;
                }
            }
            (Kind::Symbol, ":") => {
                let name = index.checked_sub(1).map(|before| tokens[before].text(line).trim_matches('"'));
                if let (Some(frame), Some(name)) =
                    (frames.last_mut().filter(|frame| frame.bracket == "#{"), name)
                {
                    frame.key = Some(name.to_owned());
                    frame.keys.push(name.to_owned());
                }
            }
            _ => {}
        }
    }
    frames
}

/// What a bracket after these tokens calls.
fn callee(line: &str, tokens: &[Token]) -> String {
    match tokens.split_last() {
        Some((last, earlier)) if last.kind == Kind::Word => {
            let (chain, result_of) = chain(line, earlier);
            match result_of {
                Some(call) => format!("{call}().{}", last.text(line)),
                None => chain + last.text(line),
            }
        }
        _ => String::new(),
    }
}

/// The names and points that end after these tokens, such as `net::` or `box.`; and the call whose result a point
/// follows.
fn chain(line: &str, tokens: &[Token]) -> (String, Option<String>) {
    let mut start = tokens.len();
    let mut want_separator = true;
    while let Some(token) = start.checked_sub(1).map(|index| &tokens[index]) {
        let text = token.text(line);
        let fits = match token.kind {
            Kind::Symbol => want_separator && matches!(text, "::" | "." | "?."),
            Kind::Word => !want_separator,
            _ => false,
        };
        if !fits {
            break;
        }
        want_separator = !want_separator;
        start -= 1;
    }
    let chain: String = tokens[start..].iter().map(|token| token.text(line)).collect();
    if !chain.starts_with('.') || start == 0 || tokens[start - 1].text(line) != ")" {
        return (chain, None);
    }
    let mut depth = 0usize;
    let open = tokens[..start].iter().rposition(|token| {
        match (token.kind, token.text(line)) {
            (Kind::Symbol, ")" | "]" | "}") => depth += 1,
            (Kind::Symbol, "(" | "[" | "{" | "#{" | "?[") => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    let call = open.map(|open| callee(line, &tokens[..open])).filter(|call| !call.is_empty());
    (chain, call)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        let one = |token: &Token| {
            let letter = match token.kind {
                Kind::Word => 'w',
                Kind::Number => 'n',
                Kind::Text { closed: true, .. } => 't',
                Kind::Text { .. } => 'T',
                Kind::Comment { closed: true } => 'c',
                Kind::Comment { .. } => 'C',
                Kind::Symbol => 's',
            };
            format!("{letter}{}", token.text(line))
        };
        tokens(line).iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn lines_are_cut_as_the_language_cuts_them() {
        for (line, expected) in [
            ("let a=1..=2.5;", "wlet wa s= n1 s..= n2.5 s;"),
            ("net::veth(#{x: \"a\\\"b\"})", "wnet s:: wveth s( s#{ wx s: t\"a\\\"b\" s} s)"),
            ("`a${f(#{b: 1})}c` + 'x'", "t`a s${ wf s( s#{ wb s: n1 s} s) s} tc` s+ t'x'"),
            ("`a${b", "t`a s${ wb"),
            ("`open", "T`open"),
            ("\"open", "T\"open"),
            ("a // b\nc /* d /* e */ f */ g", "wa c// b wc c/* d /* e */ f */ wg"),
            ("/* open /* */", "C/* open /* */"),
            ("ä.ü", "wä s. wü"),
        ] {
            assert_eq!(shown(line), expected, "{line}");
        }
    }

    #[test]
    fn the_end_of_what_spans_lines_is_known() {
        assert!(is_open(&tokens("/* a")) && is_open(&tokens("let a = `x\ny")));
        assert!(!is_open(&tokens("/* a */")) && !is_open(&tokens("\"a")) && !is_open(&tokens("// a")));
    }

    /// Broken input of every kind: pieces in all orders of three, looked at from every place.
    #[test]
    fn no_line_is_too_broken() {
        let pieces = [
            "a", "1.", "::", ".", "#{", "}", "(", ")", "\"", "'", "`", "${", "/*", "*/", "//", "\n", "\\",
            "ä", "🦀", ":", ",", "?[",
        ];
        for first in pieces {
            for second in pieces {
                for third in pieces {
                    let line = format!("{first}{second}{third}{first}");
                    let tokens = tokens(&line);
                    let mut at = 0;
                    for token in &tokens {
                        let in_order = token.range.start >= at;
                        // The rest of a text that goes on behind code may be empty.
                        let empty = token.range.is_empty() && !matches!(token.kind, Kind::Text { .. });
                        assert!(in_order && !empty, "{line:?}: {tokens:?}");
                        at = token.range.end;
                    }
                    for pos in (0..=line.len()).filter(|pos| line.is_char_boundary(*pos)) {
                        assert!(context(&line, pos).start <= pos, "{line:?} at {pos}");
                    }
                    let _ = crate::repl::highlight::line(&line);
                }
            }
        }
    }

    fn at_end(line: &str) -> Context {
        context(line, line.len())
    }

    #[test]
    fn the_word_and_what_it_belongs_to_are_known() {
        for (line, chain, word) in [
            ("let x = net::ve", "net::", "ve"),
            ("box.ns.", "box.ns.", ""),
            ("a + b", "", "b"),
            ("f(box.ex", "box.", "ex"),
            ("1 + ", "", ""),
        ] {
            let context = at_end(line);
            assert_eq!((context.chain.as_str(), context.word.as_str()), (chain, word), "{line}");
            assert_eq!(&line[context.start..], word, "{line}");
        }
        assert_eq!(at_end("ns::new([\"uts\"]).ex").result_of.as_deref(), Some("ns::new"));
        assert_eq!(at_end("fs::read(\"/etc/pa").word, "/etc/pa");
        assert_eq!(at_end("fs::read(\"/etc/pa").quote, Some('"'));
        assert_eq!(at_end("`a${b").word, "b");
        assert!(at_end("// net::").comment);
    }

    #[test]
    fn the_call_and_the_key_being_written_are_known() {
        let context = at_end("let l = net::veth(#{ name: \"a\", peer: #{ ns: b, ad");
        let frames: Vec<(&str, &str, Option<&str>)> = context
            .frames
            .iter()
            .map(|frame| (frame.bracket.as_str(), frame.callee.as_str(), frame.key.as_deref()))
            .collect();
        assert_eq!(frames, [("(", "net::veth", None), ("#{", "", Some("peer")), ("#{", "", None)]);
        assert_eq!(context.frames[1].keys, ["name", "peer"]);
        let context = at_end("box.exec(\"ls\", ");
        assert_eq!((context.frames[0].callee.as_str(), context.frames[0].commas), ("box.exec", 1));
        assert_eq!(at_end("if (a) { (b").frames[1].callee, "");
        assert_eq!(at_end("ns::new([]).exec(").frames[0].callee, "ns::new().exec");
    }
}
