//! Runs a parsed template.

use std::ops::Bound;

use super::ast::{Command, Node, Operand, Pipe, Term, Tree};
use super::builtins::{self, Refusal};
use super::number::Number;
use super::value::{Bytes, IntType, List, Map, Value};
use super::{Data, ErrorKind, Excerpt, Fault, Functions, LITERAL_HINT, MAX_BYTES, nearest, quote};

/// Steps a run may take: a node, an operand or a round of a loop is one.
const MAX_STEPS: usize = 100_000;
/// How many bytes a function may read and write for one step.
const BYTES_PER_STEP: usize = 64;
/// How deep bodies, parentheses and template calls may nest, together.
const MAX_DEPTH: usize = 200;

/// Renders `tree` with `data` as dot and `$`.
pub(super) fn render(
    tree: &Tree,
    data: &Data,
    functions: &dyn Functions,
) -> Result<Vec<u8>, Fault> {
    let dot = Value::borrowed(data);
    let mut machine = Machine {
        tree,
        functions,
        variables: vec![("$", dot.clone())],
        out: Vec::new(),
        steps: 0,
        depth: 0,
    };
    machine.list(&tree.root, &dot)?;
    Ok(machine.out)
}

struct Machine<'a> {
    tree: &'a Tree,
    functions: &'a dyn Functions,
    /// A stack; the last of a name is the one in sight.
    variables: Vec<(&'a str, Value<'a>)>,
    out: Vec<u8>,
    steps: usize,
    depth: usize,
}

/// What goes on after a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

impl<'a> Machine<'a> {
    fn list(&mut self, nodes: &'a [Node], dot: &Value<'a>) -> Result<Flow, Fault> {
        for node in nodes {
            let flow = self.node(node, dot)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn node(&mut self, node: &'a Node, dot: &Value<'a>) -> Result<Flow, Fault> {
        match node {
            Node::Text { at, text } => {
                self.step(*at, 1)?;
                self.write(*at, text.as_bytes())?;
            }
            Node::Action(pipe) => {
                let value = self.pipe(pipe, dot)?;
                if pipe.declared.is_empty() {
                    self.print(pipe.at, &value)?;
                }
            }
            Node::Branch { arms, otherwise, with } => {
                return self.branch(arms, otherwise, *with, dot);
            }
            Node::Range { pipe, body, otherwise } => return self.range(pipe, body, otherwise, dot),
            Node::Call { at, name, pipe } => self.call(*at, name, pipe.as_ref(), dot)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn branch(
        &mut self,
        arms: &'a [(Pipe, Vec<Node>)],
        otherwise: &'a [Node],
        with: bool,
        dot: &Value<'a>,
    ) -> Result<Flow, Fault> {
        let visible = self.variables.len();
        let mut chosen = None;
        for (pipe, body) in arms {
            let value = self.pipe(pipe, dot)?;
            if value.truth() {
                let dot = if with { value } else { dot.clone() };
                chosen = Some((pipe.at, body, dot));
                break;
            }
        }
        let at = arms.first().map_or(0, |(pipe, _)| pipe.at);
        let flow = match chosen {
            Some((at, body, dot)) => self.body(at, body, &dot)?,
            None => self.body(at, otherwise, dot)?,
        };
        self.variables.truncate(visible);
        Ok(flow)
    }

    fn range(
        &mut self,
        pipe: &'a Pipe,
        body: &'a [Node],
        otherwise: &'a [Node],
        dot: &Value<'a>,
    ) -> Result<Flow, Fault> {
        let visible = self.variables.len();
        let value = self.pipe(pipe, dot)?;
        let mut ran = false;
        let mut rounds = Rounds::over(value.pointee(), pipe)?;
        while let Some((index, item)) = rounds.next() {
            ran = true;
            self.step(pipe.at, 1)?;
            self.bind(pipe, index, &item)?;
            let inside = self.variables.len();
            let flow = self.body(pipe.at, body, &item)?;
            self.variables.truncate(inside);
            if flow == Flow::Break {
                break;
            }
        }
        let mut flow = Flow::Next;
        if !ran {
            flow = self.body(pipe.at, otherwise, dot)?;
        }
        self.variables.truncate(visible);
        // In an else a continue is the outer range's, but Go lets a break end this one only.
        Ok(if flow == Flow::Break { Flow::Next } else { flow })
    }

    /// Gives a range's variables the values of one round.
    fn bind(&mut self, pipe: &'a Pipe, index: Value<'a>, item: &Value<'a>) -> Result<(), Fault> {
        let values = match pipe.declared.len() {
            0 => return Ok(()),
            1 => vec![item.clone()],
            _ => vec![index, item.clone()],
        };
        if pipe.assign {
            for (name, value) in pipe.declared.iter().zip(values) {
                self.assign(pipe.at, name, value)?;
            }
            return Ok(());
        }
        let declared = self.variables.iter_mut().rev();
        for (slot, value) in declared.zip(values.into_iter().rev()) {
            slot.1 = value;
        }
        Ok(())
    }

    fn call(
        &mut self,
        at: usize,
        name: &[u8],
        pipe: Option<&'a Pipe>,
        dot: &Value<'a>,
    ) -> Result<(), Fault> {
        let Some(body) = self.tree.defined.get(name) else {
            let name = quote::to_text(name);
            let names: Vec<String> =
                self.tree.defined.keys().map(|known| quote::to_text(known)).collect();
            let meant = nearest(&name, names.iter().map(String::as_str))
                .map(|near| format!(" (did you mean {near:?}?)"))
                .unwrap_or_default();
            let message = format!("no template {} is defined{meant}", Excerpt(&name));
            return Err(Fault::new(at, ErrorKind::Undefined, message));
        };
        self.step(at, 1)?;
        let dot = match pipe {
            Some(pipe) => self.pipe(pipe, dot)?,
            None => Value::Nil,
        };
        let scope = vec![("$", dot.clone())];
        let outer = std::mem::replace(&mut self.variables, scope);
        self.body(at, body, &dot)?;
        self.variables = outer;
        Ok(())
    }

    /// A list of nodes one level deeper.
    fn body(&mut self, at: usize, nodes: &'a [Node], dot: &Value<'a>) -> Result<Flow, Fault> {
        self.deeper(at)?;
        let flow = self.list(nodes, dot)?;
        self.depth -= 1;
        Ok(flow)
    }

    fn pipe(&mut self, pipe: &'a Pipe, dot: &Value<'a>) -> Result<Value<'a>, Fault> {
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(command, dot, value)?);
        }
        let value = value.unwrap_or(Value::Nil);
        for name in &pipe.declared {
            if pipe.assign {
                self.assign(pipe.at, name, value.clone())?;
            } else {
                self.variables.push((name, value.clone()));
            }
        }
        Ok(value)
    }

    /// `last` is the value that comes through the pipe.
    fn command(
        &mut self,
        command: &'a Command,
        dot: &Value<'a>,
        last: Option<Value<'a>>,
    ) -> Result<Value<'a>, Fault> {
        let Command { first, args } = command;
        if let Term::Function(name) = &first.term {
            return self.function(first.at, name, args, dot, last);
        }
        if !args.is_empty() || last.is_some() {
            let message = "only a function takes arguments; this is a value";
            return Err(Fault::new(first.at, ErrorKind::Type, message));
        }
        if matches!(first.term, Term::Nil) {
            let message = "nil cannot stand alone, only as an argument";
            return Err(Fault::new(first.at, ErrorKind::Type, message));
        }
        self.operand(first, dot)
    }

    fn operand(&mut self, operand: &'a Operand, dot: &Value<'a>) -> Result<Value<'a>, Fault> {
        let at = operand.at;
        self.step(at, 1)?;
        Ok(match &operand.term {
            Term::Dot => dot.clone(),
            Term::Nil => Value::Nil,
            Term::Bool(b) => Value::Bool(*b),
            Term::Number(number) => match number {
                Number::Int(i) => Value::int(*i),
                Number::Float(f) => Value::Float(*f),
                Number::Complex(re, im) => Value::Complex(*re, *im),
                Number::TooLarge => {
                    let message = format!("the number is above {}", i64::MAX);
                    return Err(Fault::new(at, ErrorKind::Type, message));
                }
            },
            Term::Str(s) => Value::Str(Bytes::Borrowed(s)),
            Term::Field(names) => fields(at, dot.clone(), String::new(), names)?,
            Term::Variable(name, names) => {
                let value = self.variable(at, name)?;
                fields(at, value, name.clone(), names)?
            }
            Term::Function(name) => self.function(at, name, &[], dot, None)?,
            Term::Paren(pipe) => {
                self.deeper(at)?;
                let value = self.pipe(pipe, dot)?;
                self.depth -= 1;
                value
            }
            Term::Chain(inner, names) => {
                let value = self.operand(inner, dot)?;
                fields(at, value, "(...)".to_owned(), names)?
            }
        })
    }

    fn function(
        &mut self,
        at: usize,
        name: &'a str,
        args: &'a [Operand],
        dot: &Value<'a>,
        last: Option<Value<'a>>,
    ) -> Result<Value<'a>, Fault> {
        self.step(at, 1)?;
        let given = args.len() + usize::from(last.is_some());
        builtins::check_count(name, given)
            .map_err(|message| Fault::new(at, ErrorKind::Function, message))?;
        if name == "and" || name == "or" {
            return self.and_or(name == "or", args, dot, last);
        }
        let mut values = Vec::with_capacity(given);
        for arg in args {
            values.push(self.operand(arg, dot)?);
        }
        values.extend(last);
        self.pay(at, &values)?;
        let result = match builtins::call(name, &values) {
            Some(result) => result.map_err(|refusal| match refusal {
                Refusal::Failed(m) => Fault::new(at, ErrorKind::Function, format!("{name}: {m}")),
                Refusal::Limit(m) => Fault::new(at, ErrorKind::Limit, format!("{name}: {m}")),
            })?,
            None => self.foreign(at, name, &values)?,
        };
        self.pay(at, std::slice::from_ref(&result))?;
        Ok(result)
    }

    /// Evaluates no argument behind the one that decides.
    fn and_or(
        &mut self,
        decisive: bool,
        args: &'a [Operand],
        dot: &Value<'a>,
        last: Option<Value<'a>>,
    ) -> Result<Value<'a>, Fault> {
        let mut value = Value::Nil;
        for arg in args {
            value = self.operand(arg, dot)?;
            if value.truth() == decisive {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    /// Calls one of the functions given by the caller.
    fn foreign(&mut self, at: usize, name: &str, values: &[Value<'a>]) -> Result<Value<'a>, Fault> {
        let failed = |m: &str| Fault::new(at, ErrorKind::Function, format!("{name}: {m}"));
        let mut args = Vec::with_capacity(values.len());
        for value in values {
            let data = value
                .to_data()
                .ok_or_else(|| failed("a complex number cannot be an argument of this function"))?;
            self.step(at, weight(&data))?;
            args.push(data);
        }
        match self.functions.call(name, &args) {
            Some(Ok(data)) => Ok(Value::owned(data)),
            Some(Err(message)) => Err(failed(&message)),
            None => {
                let message = format!("function {name:?} is not defined; {LITERAL_HINT}");
                Err(Fault::new(at, ErrorKind::UnknownFunction, message))
            }
        }
    }

    fn variable(&self, at: usize, name: &str) -> Result<Value<'a>, Fault> {
        self.variables
            .iter()
            .rev()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.clone())
            .ok_or_else(|| unset(at, name))
    }

    fn assign(&mut self, at: usize, name: &str, value: Value<'a>) -> Result<(), Fault> {
        let slot = self
            .variables
            .iter_mut()
            .rev()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| unset(at, name))?;
        slot.1 = value;
        Ok(())
    }

    fn print(&mut self, at: usize, value: &Value<'a>) -> Result<(), Fault> {
        let text = builtins::display(value)
            .map_err(|message| Fault::new(at, ErrorKind::Limit, message))?;
        self.write(at, &text)
    }

    fn write(&mut self, at: usize, bytes: &[u8]) -> Result<(), Fault> {
        self.step(at, bytes.len() / BYTES_PER_STEP)?;
        if self.out.len() + bytes.len() > MAX_BYTES {
            let message = format!("the output is longer than {MAX_BYTES} bytes");
            return Err(Fault::new(at, ErrorKind::Limit, message));
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// Counts the bytes of strings that a function reads or has written.
    fn pay(&mut self, at: usize, values: &[Value<'a>]) -> Result<(), Fault> {
        for value in values {
            if let Value::Str(s) = value.pointee() {
                self.step(at, s.len() / BYTES_PER_STEP)?;
            }
        }
        Ok(())
    }

    fn step(&mut self, at: usize, steps: usize) -> Result<(), Fault> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > MAX_STEPS {
            let message = format!("the template takes more than {MAX_STEPS} steps");
            return Err(Fault::new(at, ErrorKind::Limit, message));
        }
        Ok(())
    }

    fn deeper(&mut self, at: usize) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let message = format!(
                "templates nest deeper than {MAX_DEPTH} levels; does one call itself without end?"
            );
            return Err(Fault::new(at, ErrorKind::Limit, message));
        }
        Ok(())
    }
}

/// The rounds of a range: what its variables are and what its dot is.
struct Rounds<'v, 'a> {
    source: Source<'v, 'a>,
    next: usize,
}

enum Source<'v, 'a> {
    Nothing,
    Count(i64),
    List(&'v List<'a>),
    /// With the key of the last round.
    Map(&'v Map<'a>, Option<&'v str>),
}

impl<'v, 'a> Rounds<'v, 'a> {
    fn over(value: &'v Value<'a>, pipe: &Pipe) -> Result<Self, Fault> {
        let source = match value {
            Value::Nil => Source::Nothing,
            Value::Int(..) if pipe.declared.len() > 1 => {
                let message = "a range over a number has one variable, not two";
                return Err(Fault::new(pipe.at, ErrorKind::Type, message));
            }
            Value::Int(count, _) => Source::Count(*count),
            Value::List(list) => Source::List(list),
            Value::Map(map) => Source::Map(map, None),
            _ => {
                let message = format!(
                    "range needs a list, a map or a whole number, not {}",
                    value.describe()
                );
                return Err(Fault::new(pipe.at, ErrorKind::Type, message));
            }
        };
        Ok(Self { source, next: 0 })
    }

    fn next(&mut self) -> Option<(Value<'a>, Value<'a>)> {
        let index = self.next;
        self.next += 1;
        match &mut self.source {
            Source::Nothing => None,
            Source::Count(count) => {
                let round = i64::try_from(index).ok().filter(|i| i < count)?;
                Some((Value::Nil, Value::Int(round, IntType::Int64)))
            }
            Source::List(list) => list.at(index).map(|item| (Value::count(index), item)),
            Source::Map(map, last) => {
                let start = last.map_or(Bound::Unbounded, Bound::Excluded);
                let mut rest = map.fields().range::<str, _>((start, Bound::Unbounded));
                let (key, _) = rest.next()?;
                *last = Some(key);
                Some((Value::text(key.clone().into_bytes()), map.at(key)?))
            }
        }
    }
}

/// Follows `names` from `value`; `path` is how the template got there.
fn fields<'a>(
    at: usize,
    mut value: Value<'a>,
    mut path: String,
    names: &[String],
) -> Result<Value<'a>, Fault> {
    for name in names {
        let here = if path.is_empty() { "." } else { &path };
        value = match value.pointee() {
            Value::Map(map) => map.at(name).ok_or_else(|| {
                let meant = suggest(map, name, &path);
                let message = format!("{path}.{name} is not a field here{meant}");
                Fault::new(at, ErrorKind::MissingKey, message)
            })?,
            Value::Nil => {
                let message = format!(
                    "{here} is nil, so it has no field .{name}; guard it with {{{{ if {here} }}}}"
                );
                return Err(Fault::new(at, ErrorKind::NilField, message));
            }
            other => {
                let message = format!("{here} is {}, so it has no field .{name}", other.describe());
                return Err(Fault::new(at, ErrorKind::Type, message));
            }
        };
        path.push('.');
        path.push_str(name);
    }
    Ok(value)
}

fn suggest(map: &Map<'_>, name: &str, path: &str) -> String {
    const LISTED: usize = 8;
    let keys = || map.fields().keys().map(String::as_str);
    if let Some(near) = nearest(name, keys()) {
        return format!(" (did you mean {path}.{near}?)");
    }
    match map.fields().len() {
        0 => " (there are none)".to_owned(),
        1..=LISTED => format!(" (the fields are {})", keys().collect::<Vec<_>>().join(", ")),
        _ => String::new(),
    }
}

fn unset(at: usize, name: &str) -> Fault {
    let message =
        format!("variable {name} has no value yet; declare it with {{{{ {name} := ... }}}}");
    Fault::new(at, ErrorKind::Undefined, message)
}

/// How many values `data` is made of, as copying it takes so long.
fn weight(data: &Data) -> usize {
    let mut todo = vec![data];
    let mut count = 0;
    while let Some(data) = todo.pop() {
        count += 1;
        match data {
            Data::List(items) => todo.extend(items),
            Data::Map(fields) => todo.extend(fields.values()),
            Data::Pointer(inner) => todo.push(inner),
            Data::Str(s) => count += s.len() / BYTES_PER_STEP,
            Data::Nil | Data::Bool(_) | Data::Int(_) | Data::Float(_) => {}
        }
    }
    count
}
