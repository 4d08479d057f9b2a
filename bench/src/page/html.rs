//! Text as HTML. What comes from a measurement is escaped on the way in; markup is a type of its own, so forgetting
//! it does not compile.

use std::fmt;

/// HTML that may stand in a page as it is.
#[derive(Clone, Default, Debug)]
pub(crate) struct Markup(String);

impl Markup {
    /// HTML that was written here and holds nothing foreign.
    pub(crate) fn trusted(html: impl Into<String>) -> Self {
        Self(html.into())
    }

    pub(crate) fn push(&mut self, more: &Markup) {
        self.0.push_str(&more.0);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Markup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Foreign text; the five characters that mean something in HTML lose their meaning, in attributes too.
pub(crate) fn text(text: &str) -> Markup {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    Markup(out)
}

/// JSON for inside of a `<script>`: no `<` is left, so that nothing ends the script or begins a comment in it.
pub(crate) fn json(value: &impl serde::Serialize) -> Markup {
    let json = serde_json::to_string(value).expect("numbers and text become JSON");
    Markup(
        json.replace('<', "\\u003c")
            .replace('>', "\\u003e")
            .replace('&', "\\u0026"),
    )
}

/// Elements of a list, `<li>` around each; nothing for none.
pub(crate) fn list(tag: &str, class: &str, items: impl IntoIterator<Item = Markup>) -> Markup {
    let items: String = items.into_iter().map(|item| format!("<li>{item}</li>")).collect();
    if items.is_empty() {
        return Markup::default();
    }
    Markup(format!("<{tag} class=\"{class}\">{items}</{tag}>"))
}

/// What stays closed until somebody asks.
pub(crate) fn details(summary: &str, inner: &Markup) -> Markup {
    Markup(format!(
        "<details><summary>{}</summary>{inner}</details>",
        text(summary)
    ))
}

/// A table that scrolls inside itself when the screen is narrow.
#[derive(Debug)]
pub(crate) struct Table {
    caption: String,
    heads: Vec<Head>,
    rows: Vec<Vec<Markup>>,
}

#[derive(Debug)]
struct Head {
    name: String,
    numeric: bool,
}

impl Table {
    /// The caption is for all: people who see see it above, others hear it first.
    pub(crate) fn new(caption: impl Into<String>) -> Self {
        Self {
            caption: caption.into(),
            heads: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// A column of words.
    pub(crate) fn words(mut self, name: impl Into<String>) -> Self {
        self.heads.push(Head {
            name: name.into(),
            numeric: false,
        });
        self
    }

    /// A column of numbers, which stand to the right.
    pub(crate) fn numbers(mut self, name: impl Into<String>) -> Self {
        self.heads.push(Head {
            name: name.into(),
            numeric: true,
        });
        self
    }

    /// The first cell names the row.
    ///
    /// # Panics
    /// If it has not as many cells as the table has columns.
    pub(crate) fn row(&mut self, cells: Vec<Markup>) {
        assert_eq!(
            cells.len(),
            self.heads.len(),
            "cells of a row of \"{}\"",
            self.caption
        );
        self.rows.push(cells);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn markup(&self) -> Markup {
        let class = |numeric: bool| if numeric { " class=\"n\"" } else { "" };
        let heads: String = self
            .heads
            .iter()
            .map(|head| {
                format!(
                    "<th scope=\"col\"{}>{}</th>",
                    class(head.numeric),
                    text(&head.name)
                )
            })
            .collect();
        let row = |cells: &Vec<Markup>| -> String {
            let mut out = String::from("<tr>");
            for (index, (cell, head)) in cells.iter().zip(&self.heads).enumerate() {
                let class = class(head.numeric);
                out.push_str(&if index == 0 {
                    format!("<th scope=\"row\"{class}>{cell}</th>")
                } else {
                    format!("<td{class}>{cell}</td>")
                });
            }
            out + "</tr>\n"
        };
        let rows: String = self.rows.iter().map(row).collect();
        // A caption inside would scroll away with the columns. What scrolls can be reached with the keyboard only if
        // it can have the focus.
        let name = text(&self.caption);
        Markup(format!(
            "<p class=\"caption\" aria-hidden=\"true\">{name}</p>\
             <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{name}\"><table aria-label=\"{name}\">\
             <thead><tr>{heads}</tr></thead><tbody>\n{rows}</tbody></table></div>\n"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_no_markup_left() {
        assert_eq!(
            text("</script><a title='\"'>&").to_string(),
            "&lt;/script&gt;&lt;a title=&#39;&quot;&#39;&gt;&amp;"
        );
    }

    #[test]
    fn json_cannot_end_the_script_it_stands_in() {
        let json = json(&"</script><!-- & ");
        assert!(!json.to_string().contains(['<', '>', '&']), "{json}");
        let back: String = serde_json::from_str(&json.to_string()).expect("JSON");
        assert_eq!(back, "</script><!-- & ");
    }
}
