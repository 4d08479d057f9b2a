//! The paths that a Rust source mentions, without a parser: enough for a tripwire.

/// A path in the source, as written but for `use` groups, which are spelled out.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Mention {
    /// From 1.
    pub(crate) line: usize,
    pub(crate) path: String,
    /// How many generic parameters follow it; `None` if there is no list.
    pub(crate) parameters: Option<usize>,
}

/// All paths outside comments, texts and test-only items.
pub(crate) fn mentions(source: &str) -> Vec<Mention> {
    let tokens = without_tests(&tokens(source));
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at = path(&tokens, at, "", &mut found);
    }
    found
}

/// A name, or one character of punctuation (`::` counts as one).
#[derive(Clone, PartialEq, Eq, Debug)]
struct Token {
    line: usize,
    text: String,
}

impl Token {
    fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

fn tokens(source: &str) -> Vec<Token> {
    let source: Vec<char> = source.chars().collect();
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    while at < source.len() {
        let start = at;
        let rest = &source[at..];
        match rest {
            ['/', '/', ..] => at += rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => at += block_comment(rest),
            ['"', ..] => at += text(rest),
            ['r' | 'b' | 'c', ..] if literal_prefix(rest) > 0 => {
                let prefix = literal_prefix(rest);
                at += prefix
                    + if rest[..prefix].contains(&'r') {
                        raw_text(&rest[prefix..])
                    } else {
                        text(&rest[prefix..])
                    };
            }
            ['\'', '\\', ..] => {
                at += 3 + rest
                    .iter()
                    .skip(3)
                    .position(|c| *c == '\'')
                    .map_or(0, |end| end + 1)
            }
            ['\'', _, '\'', ..] => at += 3,
            [c, ..] if c.is_alphanumeric() || *c == '_' => {
                at += rest
                    .iter()
                    .position(|c| !c.is_alphanumeric() && *c != '_')
                    .unwrap_or(rest.len());
                tokens.push(Token {
                    line,
                    text: source[start..at].iter().collect(),
                });
            }
            [':', ':', ..] => {
                at += 2;
                tokens.push(Token {
                    line,
                    text: "::".into(),
                });
            }
            ['-', '>', ..] => at += 2,
            [c, ..] => {
                at += 1;
                if !c.is_whitespace() {
                    tokens.push(Token {
                        line,
                        text: c.to_string(),
                    });
                }
            }
            [] => break,
        }
        at = at.min(source.len());
        line += source[start..at].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

/// The length of a block comment, which may hold others.
fn block_comment(source: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < source.len() {
        match &source[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] if depth == 1 => return at + 2,
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

/// The length of `"…"`.
fn text(source: &[char]) -> usize {
    let mut at = 1;
    while at < source.len() {
        match source[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// How many characters stand before the quote or the `#` of `b"…"`, `r"…"`, `br#"…"#` and the like; 0 if it
/// is a name.
fn literal_prefix(source: &[char]) -> usize {
    let letters = source.iter().take_while(|c| matches!(c, 'r' | 'b' | 'c')).count();
    let hashes = source[letters..].iter().take_while(|c| **c == '#').count();
    let quoted = source.get(letters + hashes) == Some(&'"');
    if quoted && letters <= 2 && (hashes == 0 || source[..letters].contains(&'r')) {
        letters
    } else {
        0
    }
}

/// The length of `"…"` or `#"…"#`, in which a backslash means nothing.
fn raw_text(source: &[char]) -> usize {
    let hashes = source.iter().take_while(|c| **c == '#').count();
    let ends = |at: &usize| {
        source[*at] == '"'
            && source[at + 1..]
                .iter()
                .take(hashes)
                .filter(|c| **c == '#')
                .count()
                == hashes
    };
    (hashes + 1..source.len())
        .find(ends)
        .map_or(source.len(), |end| end + 1 + hashes)
}

/// Leaves out each item behind a `#[cfg(test)]` or `#[cfg(all(test, …))]`.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if is_test_only(&tokens[at..]) {
            at = end_of_item(tokens, at);
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

fn is_test_only(tokens: &[Token]) -> bool {
    let starts = |with: &[&str]| {
        tokens
            .iter()
            .map(|token| token.text.as_str())
            .take(with.len())
            .eq(with.iter().copied())
    };
    starts(&["#", "[", "cfg", "(", "test", ")"]) || starts(&["#", "[", "cfg", "(", "all", "(", "test"])
}

/// Behind the first `;` or `{…}` at the level of `at`; the attributes before it are in brackets.
fn end_of_item(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0;
    while at < tokens.len() {
        let text = tokens[at].text.as_str();
        at += 1;
        match text {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth -= 1;
                if depth == 0 && text == "}" {
                    return at;
                }
            }
            ";" if depth == 0 => return at,
            _ => {}
        }
    }
    at
}

/// Reads the path that starts at `at`, with `before` in front of it; returns where to go on.
fn path(tokens: &[Token], mut at: usize, before: &str, found: &mut Vec<Mention>) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let line = tokens[at].line;
    let mut path = before.to_owned();
    loop {
        match text(at) {
            "{" if path.ends_with("::") => return group(tokens, at + 1, &path, found),
            "*" if path.ends_with("::") => path.push('*'),
            _ if tokens.get(at).is_some_and(Token::is_name) => path.push_str(text(at)),
            // A leading `::`, or punctuation.
            _ => return at + 1,
        }
        at += 1;
        if text(at) != "::" || text(at + 1) == "<" {
            break;
        }
        path.push_str("::");
        at += 1;
    }
    let list = at + usize::from(text(at) == "::");
    let parameters = (text(list) == "<").then(|| parameters(&tokens[list + 1..]));
    let path = path.strip_suffix("::self").map_or(path.clone(), str::to_owned);
    found.push(Mention {
        line,
        path,
        parameters,
    });
    at
}

/// Reads `a, b::{c, d}, e}` of a `use`, each with `before` in front of it.
fn group(tokens: &[Token], mut at: usize, before: &str, found: &mut Vec<Mention>) -> usize {
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            "}" => return at + 1,
            "," => at += 1,
            // The other name is no path.
            "as" => at += 2,
            _ => at = path(tokens, at, before, found),
        }
    }
    at
}

/// How many parameters a list has, given what follows its `<`.
fn parameters(tokens: &[Token]) -> usize {
    let (mut depth, mut count, mut open) = (0, 0, false);
    for token in tokens {
        match token.text.as_str() {
            ">" if depth == 0 => break,
            "<" | "(" | "[" => depth += 1,
            ">" | ")" | "]" => depth -= 1,
            "," if depth == 0 => open = false,
            _ => {}
        }
        // A trailing comma opens nothing.
        if token.text != "," && !open && depth >= 0 {
            (count, open) = (count + 1, true);
        }
    }
    count
}
