//! The parsed form of a template. Every `at` is a byte offset into the source.

use std::collections::BTreeMap;

use super::number::Number;

/// A template and those it defines.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    pub(super) root: Vec<Node>,
    /// By name; a name is bytes, as any Go string.
    pub(super) defined: BTreeMap<Vec<u8>, Vec<Node>>,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Text {
        at: usize,
        text: String,
    },
    /// `{{ pipeline }}`.
    Action(Pipe),
    /// `if` or `with`, and its `else if`s or `else with`s.
    Branch {
        arms: Vec<(Pipe, Vec<Node>)>,
        otherwise: Vec<Node>,
        /// The body's dot is the arm's value.
        with: bool,
    },
    Range {
        pipe: Pipe,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    /// `{{ template "name" pipeline }}`, or the place of a `block`.
    Call {
        at: usize,
        name: Vec<u8>,
        pipe: Option<Pipe>,
    },
    Break,
    Continue,
}

/// `$x := command | command`.
#[derive(Debug, Clone)]
pub(super) struct Pipe {
    pub(super) at: usize,
    /// `=` rather than `:=`.
    pub(super) assign: bool,
    /// Names with their `$`; two at most, and two in a range only.
    pub(super) declared: Vec<String>,
    pub(super) commands: Vec<Command>,
}

/// An operand and, when it is a function, its arguments.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) first: Operand,
    pub(super) args: Vec<Operand>,
}

#[derive(Debug, Clone)]
pub(super) struct Operand {
    pub(super) at: usize,
    pub(super) term: Term,
}

#[derive(Debug, Clone)]
pub(super) enum Term {
    Dot,
    Nil,
    Bool(bool),
    Number(Number),
    Str(Vec<u8>),
    /// `.A.B`.
    Field(Vec<String>),
    /// `$x.A.B`; the name has its `$`.
    Variable(String, Vec<String>),
    Function(String),
    Paren(Box<Pipe>),
    /// `(pipeline).A.B` or `function.A.B`.
    Chain(Box<Operand>, Vec<String>),
}
