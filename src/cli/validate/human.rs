//! Findings as a compiler prints them.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

use super::super::input::shown;
use super::super::output::{is_steering, visible};
use super::check::{Checked, Located, labelled};
use crate::yaml::{Mark, Source};

/// Longest line, in characters, that is handed over whole. The renderer cuts to the width of a
/// terminal itself, in time that grows with the line, and JSON may be one line of megabytes.
const LONG: usize = 1000;
/// How much is kept of a longer one on either side of the mark's beginning.
const AROUND: usize = 400;

/// All findings with their lines, an empty line between two.
pub(in crate::cli) fn print(checked: &Checked, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    for located in &checked.findings {
        let Some(file) = checked.files.get(located.file) else { continue };
        text.push_str(&one(located, &visible(&shown(&file.path)), &file.source, &renderer));
        text.push_str("\n\n");
    }
    text
}

fn one(located: &Located, path: &str, source: &Source, renderer: &Renderer) -> String {
    let Located { mark, object, finding, .. } = located;
    let level = if located.is_error() { Level::ERROR } else { Level::WARNING };
    let said = labelled(&finding.field, &finding.message);
    let title = level.primary_title(visible(&said)).id(finding.code);
    let line = mark.as_ref().map(|mark| (mark, Line::of(source, mark)));
    let mut group = match &line {
        None => title.element(Origin::path(path)),
        Some((mark, line)) => title.element(
            Snippet::source(line.text.as_str())
                .line_start(mark.line)
                .path(path)
                .annotation(AnnotationKind::Primary.span(line.mark.clone())),
        ),
    };
    if let Some(object) = object {
        let object = visible(&object.to_string());
        group = group.element(Level::NOTE.with_name("object").message(object));
    }
    if !finding.help.is_empty() {
        group = group.element(Level::HELP.message(visible(&finding.help)));
    }
    let printed = renderer.render(&[group]);
    match line {
        // The renderer counts the column in what it was given.
        Some((mark, Line { cut, .. })) if cut > 0 => {
            let (line, column) = (mark.line, mark.column);
            let counted = format!("{path}:{line}:{}", column - cut);
            printed.replacen(&counted, &format!("{path}:{line}:{column}"), 1)
        }
        _ => printed,
    }
}

/// A line as it is shown.
struct Line {
    text: String,
    /// Bytes of the text.
    mark: Range<usize>,
    /// How many characters fewer there are in front of the mark.
    cut: usize,
}

impl Line {
    fn of(source: &Source, mark: &Mark) -> Self {
        let line = source.line(mark.line);
        let is_long = line.chars().nth(LONG).is_some();
        let from = if is_long { (mark.column - 1).saturating_sub(AROUND) } else { 0 };
        let length = if is_long { 2 * AROUND } else { usize::MAX };
        let shown = line.chars().skip(from).take(length);
        // One character for another, so that columns stay as they are.
        let shown = shown.map(|c| if is_steering(c) && c != '\t' { '\u{fffd}' } else { c });
        let text: String = shown.collect();
        let byte = |column: usize| {
            let characters = column.saturating_sub(1 + from);
            text.char_indices().nth(characters).map_or(text.len(), |(byte, _)| byte)
        };
        let mark = byte(mark.column)..byte(mark.end_column);
        Self { text, mark, cut: from }
    }
}
