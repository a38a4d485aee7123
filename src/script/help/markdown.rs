//! Pages as Markdown.

use crate::script::help::page::{Item, Page, Term};
use std::fmt::Write;

/// One page, with its title `level` deep.
#[must_use]
pub fn render(page: &Page, level: usize) -> String {
    let title = if page.signature.is_empty() { &page.name } else { &page.signature };
    let mut out = format!("{} {}\n\n{}\n", "#".repeat(level), code(title), text(&page.summary));
    let mut before: Option<&Item> = None;
    for item in &page.items {
        if !matches!((before, item), (Some(Item::Point(_)), Item::Point(_))) {
            out.push('\n');
        }
        match item {
            Item::Heading(heading) => {
                let _ = writeln!(out, "**{heading}**");
            }
            Item::Text(paragraph) => {
                let _ = writeln!(out, "{}", text(paragraph));
            }
            Item::Point(point) => {
                let _ = writeln!(out, "- {}", text(point));
            }
            Item::Code(lines) => {
                let _ = writeln!(out, "```rhai\n{}\n```", lines.join("\n"));
            }
            Item::Terms(terms) => terms.iter().for_each(|entry| term(entry, &mut out)),
        }
        before = Some(item);
    }
    out
}

fn term(term: &Term, out: &mut String) {
    let indent = "  ".repeat(term.depth);
    let parts = [term.about.as_str(), term.text.as_str()];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).map(text).collect();
    let _ = writeln!(out, "{indent}- {}: {}", code(&term.name), parts.join(". "));
}

/// A name or signature, as it is typed.
fn code(name: &str) -> String {
    format!("`{name}`")
}

/// Running text: what Markdown would take for something else is kept from it, outside of what is code already.
fn text(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in text.split('`').enumerate() {
        if index > 0 {
            out.push('`');
        }
        match index % 2 {
            0 => out.push_str(&part.replace('*', "\\*").replace('_', "\\_").replace('<', "&lt;")),
            _ => out.push_str(part),
        }
    }
    out
}

/// A document of several pages, with its contents at the top.
#[must_use]
pub fn document(title: &str, summary: &str, parts: &[(String, Vec<Page>)]) -> String {
    let mut out = format!("# {title}\n\n{summary}\n");
    let anchor = |name: &str| {
        let kept = |c: char| c.is_alphanumeric() || c == '-' || c == '_' || c == ' ';
        name.to_lowercase().chars().filter(|c| kept(*c)).collect::<String>().replace(' ', "-")
    };
    for (part, pages) in parts {
        let _ = writeln!(out, "\n- [{part}](#{})", anchor(part));
        for page in pages {
            let title = if page.signature.is_empty() { &page.name } else { &page.signature };
            let _ = writeln!(out, "  - [`{}`](#{})", page.name, anchor(title));
        }
    }
    for (part, pages) in parts {
        let _ = writeln!(out, "\n## {part}");
        for page in pages {
            out.push('\n');
            out.push_str(&render(page, 3));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_markdown() {
        let page = Page {
            name: "m::f".into(),
            signature: "m::f(a)".into(),
            summary: "Makes *it* of `a_b`.".into(),
            items: vec![
                Item::Heading("Errors"),
                Item::Terms(vec![Term { name: "busy".into(), text: "when it_is".into(), ..Term::default() }]),
                Item::Code(vec!["m::f(1)".into()]),
            ],
        };
        let expected = "## `m::f(a)`\n\nMakes \\*it\\* of `a_b`.\n\n**Errors**\n\n- `busy`: when it\\_is\n\n```rhai\nm::f(1)\n```\n";
        assert_eq!(render(&page, 2), expected);
        let all = document("T", "S.", &[("Part".into(), vec![page])]);
        assert!(all.contains("- [Part](#part)\n  - [`m::f`](#mfa)\n"), "{all}");
    }
}
