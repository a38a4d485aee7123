//! The pages of the tutorial: texts in `stdlib/tutorial`, taken apart.
//!
//! A page has a title (`# …`), paragraphs, lines of code indented by four, and sections: `Try` (entries, each a line; one
//! goes on in lines that are indented or begin with a closing bracket), `Task` (a paragraph), `Check` (code that gives `true`,
//! or says what is missing), `Hints` (a list), `Solution` (entries),
//! and where they are needed `Needs` (programs of the machine) and `Before` (the page whose entries come first, and a variable that
//! they leave).

/// The texts, by the names of their files.
pub(super) const TEXTS: &[(&str, &str)] = &[
    ("01-process", include_str!("../../../stdlib/tutorial/01-process.md")),
    ("02-chroot", include_str!("../../../stdlib/tutorial/02-chroot.md")),
    ("03-mount", include_str!("../../../stdlib/tutorial/03-mount.md")),
    ("04-pivot_root", include_str!("../../../stdlib/tutorial/04-pivot_root.md")),
    ("05-overlay", include_str!("../../../stdlib/tutorial/05-overlay.md")),
    ("06-uts", include_str!("../../../stdlib/tutorial/06-uts.md")),
    ("07-pid", include_str!("../../../stdlib/tutorial/07-pid.md")),
    ("08-net", include_str!("../../../stdlib/tutorial/08-net.md")),
    ("09-cpu", include_str!("../../../stdlib/tutorial/09-cpu.md")),
    ("10-memory", include_str!("../../../stdlib/tutorial/10-memory.md")),
    ("11-user", include_str!("../../../stdlib/tutorial/11-user.md")),
    ("12-shell", include_str!("../../../stdlib/tutorial/12-shell.md")),
    ("13-container", include_str!("../../../stdlib/tutorial/13-container.md")),
];

/// One page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// The name of its file: `01-process`.
    pub(super) name: &'static str,
    /// Its title.
    pub(super) title: &'static str,
    /// What it explains: paragraphs, and lines that stay as they are (indented by four).
    pub(super) text: Vec<String>,
    /// What is tried, entry by entry.
    pub(super) tries: Vec<&'static str>,
    /// What is to be done.
    pub(super) task: String,
    /// What tells whether it is done.
    pub(super) check: &'static str,
    /// What helps, the least first.
    pub(super) hints: Vec<&'static str>,
    /// What does it, entry by entry.
    pub(super) solution: Vec<&'static str>,
    /// The programs that it needs.
    pub(super) needs: Vec<&'static str>,
    /// The page whose entries its own need, and a variable that they leave.
    pub(super) before: Option<(&'static str, &'static str)>,
}

/// All pages, in their order.
pub(super) fn pages() -> Vec<Page> {
    TEXTS.iter().map(|(name, text)| page(name, text)).collect()
}

fn page(name: &'static str, text: &'static str) -> Page {
    let (head, sections) = text.split_once("\n## ").unwrap_or((text, ""));
    let (title, body) = head.split_once('\n').unwrap_or((head, ""));
    let mut page =
        Page { name, title: title.trim_start_matches("# ").trim(), text: blocks(body), ..Page::default() };
    for section in sections.split("\n## ") {
        let (heading, body) = section.split_once('\n').unwrap_or((section, ""));
        let body = body.trim();
        match heading.trim() {
            "Try" => page.tries = entries(body),
            "Task" => page.task = joined(body),
            "Check" => page.check = body,
            "Hints" => page.hints = body.lines().filter_map(|line| line.strip_prefix("- ")).collect(),
            "Solution" => page.solution = entries(body),
            "Needs" => page.needs = body.split_whitespace().collect(),
            "Before" => page.before = body.split_once(' '),
            _ => {}
        }
    }
    page
}

fn entries(body: &'static str) -> Vec<&'static str> {
    let mut entries = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let mut at = 0;
        for (index, line) in rest.split_inclusive('\n').enumerate() {
            let goes_on = line.starts_with(|c: char| c.is_whitespace() || ")]}".contains(c));
            if index > 0 && !goes_on {
                break;
            }
            at += line.len();
        }
        let (entry, others) = rest.split_at(at);
        entries.push(entry.trim());
        rest = others;
    }
    entries
}

fn joined(body: &str) -> String {
    body.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Paragraphs in one line each, and code as it is.
fn blocks(body: &str) -> Vec<String> {
    let paragraphs = body.split("\n\n").map(str::trim_end).filter(|block| !block.trim().is_empty());
    let one = |block: &str| match block.trim_start_matches('\n').starts_with("    ") {
        true => block.trim_start_matches('\n').to_owned(),
        false => joined(block.trim()),
    };
    paragraphs.map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_whole() {
        let pages = pages();
        assert!(pages.len() >= 12);
        for page in &pages {
            let parts =
                [!page.title.is_empty(), page.text.len() > 1, !page.tries.is_empty(), !page.task.is_empty()];
            assert!(parts.iter().all(|there| *there), "{}: {parts:?}", page.name);
            let parts = [!page.check.is_empty(), !page.hints.is_empty(), !page.solution.is_empty()];
            assert!(parts.iter().all(|there| *there), "{}: {parts:?}", page.name);
            assert!(
                page.before.is_none_or(|(before, _)| pages.iter().any(|page| page.name == before)),
                "{}",
                page.name
            );
        }
    }

    #[test]
    fn entries_go_on_where_lines_are_indented() {
        assert_eq!(
            entries("let a = 1\nfn f() {\n    2\n}\n\nlet b = [\n    3,\n]\nb"),
            ["let a = 1", "fn f() {\n    2\n}", "let b = [\n    3,\n]", "b"]
        );
    }

    #[test]
    fn code_to_try_is_shown_as_it_is_typed() {
        for page in pages() {
            let lines = page.tries.iter().flat_map(|entry| entry.lines());
            let wide: Vec<&str> = lines.filter(|line| line.chars().count() > 74).collect();
            assert!(wide.is_empty(), "{}: {wide:#?}", page.name);
        }
    }

    #[test]
    fn all_files_are_pages() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/stdlib/tutorial");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let known: Vec<String> = TEXTS.iter().map(|(name, _)| format!("{name}.md")).collect();
        assert_eq!(files, known);
    }
}
