//! Words as a shell writes them.

use std::fmt::Write as _;

/// Why a text cannot be split into words. Positions count characters from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// A quote that is never closed.
    #[error("the quote {quote} at character {position} is never closed: add the closing {quote}")]
    Quote {
        /// `'` or `"`.
        quote: char,
        /// Where it opens.
        position: usize,
    },
    /// A backslash with nothing behind it.
    #[error("the backslash at character {position} has nothing behind it: write it twice")]
    Backslash {
        /// Where it stands.
        position: usize,
    },
}

/// Splits a text into words as a POSIX shell does: blanks, tabs and line ends part words; single
/// quotes, double quotes and backslashes keep characters; `#` at the start of a word is a comment
/// to the end of the line. Nothing is expanded, and operators (`;`, `|`, `>`) are plain characters.
///
/// # Errors
///
/// A quote that is never closed, or a backslash at the very end, with its position.
pub fn split(text: &str) -> Result<Vec<String>, SplitError> {
    let mut words = Vec::new();
    // The word being read; `Some("")` after an empty pair of quotes.
    let mut word: Option<String> = None;
    let mut characters = (1..).zip(text.chars());
    while let Some((position, character)) = characters.next() {
        match character {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '#' if word.is_none() => {
                characters.find(|(_, c)| *c == '\n');
            }
            '\'' | '"' => {
                let into = word.get_or_insert_default();
                read_quoted(character, position, &mut characters, into)?;
            }
            '\\' => match characters.next() {
                Some((_, '\n')) => {}
                Some((_, kept)) => word.get_or_insert_default().push(kept),
                None => return Err(SplitError::Backslash { position }),
            },
            plain => word.get_or_insert_default().push(plain),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Joins words into one text for a shell, in single quotes where needed. [`split`] gives the
/// words back.
#[must_use]
pub fn quote<W: AsRef<str>>(words: &[W]) -> String {
    let mut text = String::new();
    for (index, word) in words.iter().map(AsRef::as_ref).enumerate() {
        let blank = if index == 0 { "" } else { " " };
        let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
        // Writing to a string cannot fail.
        let _ = if !word.is_empty() && word.chars().all(plain) {
            write!(text, "{blank}{word}")
        } else {
            write!(text, "{blank}'{}'", word.replace('\'', r"'\''"))
        };
    }
    text
}

/// Reads up to the closing `quote`, which is consumed.
fn read_quoted(
    quote: char,
    position: usize,
    characters: &mut impl Iterator<Item = (usize, char)>,
    word: &mut String,
) -> Result<(), SplitError> {
    let open = SplitError::Quote { quote, position };
    loop {
        let (_, character) = characters.next().ok_or(open)?;
        if character == quote {
            return Ok(());
        }
        if quote == '\'' || character != '\\' {
            word.push(character);
            continue;
        }
        // Inside double quotes a backslash keeps only these characters from being read.
        match characters.next().ok_or(open)? {
            (_, '\n') => {}
            (_, kept @ ('$' | '`' | '"' | '\\')) => word.push(kept),
            (_, other) => word.extend(['\\', other]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn splits_as_a_shell_does() {
        for (text, words) in [
            ("", vec![]),
            ("  a\tb\nc ", vec!["a", "b", "c"]),
            ("'' \"\"", vec!["", ""]),
            ("a'b c'd\" e\"", vec!["ab cd e"]),
            (r"a\ b \'c", vec!["a b", "'c"]),
            (r#""a\"b\n\$""#, vec![r#"a"b\n$"#]),
            (r"'a\'", vec![r"a\"]),
            ("a\\\nb \"c\\\nd\"", vec!["ab", "cd"]),
            ("a #b c\nd e#f", vec!["a", "d", "e#f"]),
            (
                r#"--kv_transfer_config '{"kv_connector":"NixlConnector"}'"#,
                vec!["--kv_transfer_config", r#"{"kv_connector":"NixlConnector"}"#],
            ),
            (r#"{"a":1}"#, vec!["{a:1}"]),
            ("$(HOME) ${X} *;|", vec!["$(HOME)", "${X}", "*;|"]),
        ] {
            assert_eq!(split(text).unwrap(), words, "{text}");
        }
    }

    #[test]
    fn names_the_place_of_what_is_never_closed() {
        let quote = |quote, position| Err(SplitError::Quote { quote, position });
        assert_eq!(split("a 'b"), quote('\'', 3));
        assert_eq!(split("\u{e9} \"b'"), quote('"', 3));
        assert_eq!(split(r#"'ok' "a\""#), quote('"', 6));
        assert_eq!(
            split("ab\\").unwrap_err().to_string(),
            "the backslash at character 3 has nothing behind it: write it twice"
        );
        assert_eq!(
            split("--a 'b").unwrap_err().to_string(),
            "the quote ' at character 5 is never closed: add the closing '"
        );
    }

    #[test]
    fn quotes_only_what_needs_it() {
        assert_eq!(
            quote(&["--a", "b c", "", "it's", "{}", "#x"]),
            r"--a 'b c' '' 'it'\''s' '{}' '#x'"
        );
    }

    proptest! {
        #[test]
        fn quote_and_split_are_inverse(words in prop::collection::vec(any::<String>(), 0..6)) {
            prop_assert_eq!(split(&quote(&words)).unwrap(), words);
        }

        #[test]
        fn split_takes_any_text(text in any::<String>()) {
            let _ = split(&text);
        }
    }
}
