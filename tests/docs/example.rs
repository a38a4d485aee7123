//! An example of a doc comment as a script that shows what the example says.
//!
//! | in the example | what is checked |
//! |---|---|
//! | `expression // => value` | the value, written as the language writes it |
//! | `// prints text` | a line of the standard output, after a statement or on a line of its own |
//! | `// logs text` | a line of the standard error |
//! | `statement // throws kind` | that it fails with an error of this kind |
//! | `statement // exits n` | that the program ends with this code |
//! | `// needs program or program` | at the top: where none is installed, the example is skipped |

use std::fmt::Write;

/// An example, ready to be run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Example {
    pub(crate) script: String,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) exit: i32,
    pub(crate) needs: Vec<String>,
}

impl Example {
    /// Reads the lines of an example.
    pub(crate) fn read(lines: &[String]) -> Self {
        let mut example = Self::default();
        for line in lines {
            example.line(line);
        }
        example
    }

    /// Whether it says what comes of it.
    pub(crate) fn shows(&self) -> bool {
        !self.stdout.is_empty() || !self.stderr.is_empty() || self.exit != 0
    }

    fn line(&mut self, line: &str) {
        let (code, word, rest) = marked(line);
        let code = code.trim_end();
        let bare = code.trim_end_matches(';');
        let written = match word {
            "=>" => {
                let _ = writeln!(self.stdout, "{rest}");
                writeln!(self.script, "print(({bare}).to_debug());")
            }
            "throws" => {
                let _ = writeln!(self.stdout, "throws {rest}");
                let caught = "catch (caught) { print(`throws ${caught.kind}`); }";
                writeln!(self.script, "try {{ {bare}; print(\"did not throw\"); }} {caught}")
            }
            "prints" => {
                let _ = writeln!(self.stdout, "{rest}");
                writeln!(self.script, "{code}")
            }
            "logs" => {
                let _ = writeln!(self.stderr, "{rest}");
                writeln!(self.script, "{code}")
            }
            "exits" => {
                self.exit = rest.parse().unwrap_or(-1);
                writeln!(self.script, "{code}")
            }
            "needs" => {
                self.needs = rest.split(" or ").map(str::to_owned).collect();
                Ok(())
            }
            _ => writeln!(self.script, "{line}"),
        };
        let _ = written;
    }
}

/// The code of a line, and the first word of its comment with what follows it.
fn marked(line: &str) -> (&str, &str, &str) {
    let at = if line.trim_start().starts_with("// ") { line.find("// ") } else { line.rfind(" // ") };
    let Some(at) = at else { return (line, "", "") };
    let comment = line[at..].trim_start_matches([' ', '/']);
    let (word, rest) = comment.split_once(' ').unwrap_or((comment, ""));
    (&line[..at], word, rest)
}

#[test]
fn what_an_example_says_is_read() {
    let lines = [
        "// needs pasta or slirp4netns",
        "let a = 1; // an ordinary comment",
        "a + 1 // => 2",
        "print(`http://x`); // prints http://x",
        "    // prints",
        "nope(); // throws not_found",
        "exit(3); // exits 3",
    ];
    let example = Example::read(&lines.map(str::to_owned));
    let script = "let a = 1; // an ordinary comment\nprint((a + 1).to_debug());\nprint(`http://x`);\n\n\
                  try { nope(); print(\"did not throw\"); } catch (caught) { print(`throws ${caught.kind}`); }\nexit(3);\n";
    assert_eq!(example.script, script);
    assert_eq!(example.stdout, "2\nhttp://x\n\nthrows not_found\n");
    assert_eq!((example.exit, example.needs.join(",").as_str()), (3, "pasta,slirp4netns"));
}
