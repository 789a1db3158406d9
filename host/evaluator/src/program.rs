//! Reading and checking an expression.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, operators};
use cel::parser::PrattParser;

use crate::event::{SEVERITIES, VARIABLES};
use crate::scan::{self, Place, Use};
use crate::{names, patterns, text};

/// What is wrong with an expression, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// In words.
    pub message: String,
}

impl Fault {
    fn new(place: Place, message: String) -> Self {
        Self { line: place.line, column: place.column, message }
    }
}

/// Faults that are listed.
const FAULTS: usize = 5;
/// Characters of a fault's message.
const MESSAGE_CHARS: usize = 300;
/// Brackets within one another that the parser follows.
const MAX_BRACKETS: u16 = 64;
/// Levels of the whole expression: what is evaluated within what. Each takes a part of the stack.
const MAX_LEVELS: usize = 200;
const TOO_DEEP: &str = "it nests too deeply";

/// An expression that can be evaluated.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) expression: IdedExpr,
}

impl Program {
    /// Reads and checks an expression.
    ///
    /// # Errors
    /// What is wrong with it, with the places: how it is written, names that nothing has, a value that cannot be true or
    /// false.
    pub fn compile(source: &str) -> Result<Self, Vec<Fault>> {
        let parser = PrattParser::new()
            .max_recursion_depth(MAX_BRACKETS)
            .error_reporting_limit(1)
            .error_recovery_limit(1)
            .enable_optional_syntax(true);
        let mut expression = parser.parse(source).map_err(|errors| {
            let errors = errors.errors.iter().take(1);
            let faults: Vec<Fault> = errors
                .map(|error| {
                    let message = text::cut(&readable(&error.msg), MESSAGE_CHARS);
                    Fault::new(Place::of_position(source, error.pos), message)
                })
                .collect();
            if faults.is_empty() { vec![Fault::new(Place::START, "is no expression".to_owned())] } else { faults }
        })?;
        let mut check = Check { source, scope: Vec::new(), level: 0, faults: Vec::new() };
        check.visit(&expression);
        if check.faults.is_empty() {
            check.root(&expression);
        }
        if !check.faults.is_empty() {
            return Err(check.faults);
        }
        rewrite(&mut expression);
        Ok(Self { expression })
    }
}

/// The parser's message in our words.
fn readable(message: &str) -> String {
    if message.contains("recursion limit") {
        return TOO_DEEP.to_owned();
    }
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let Some(rest) = message.strip_prefix("mismatched input '") else { return message.to_owned() };
    let found = rest.split_once("' expecting").map_or(rest, |(found, _)| found);
    match found {
        "<EOF>" => "it ends where an operand is expected".to_owned(),
        "=" => "= is no operator; values are compared with ==".to_owned(),
        _ => format!("{found} is not expected here"),
    }
}

/// Names and types, over the whole expression.
struct Check<'a> {
    source: &'a str,
    /// The variables of the loops around what is visited.
    scope: Vec<&'a str>,
    /// How deep in the expression.
    level: usize,
    faults: Vec<Fault>,
}

impl<'a> Check<'a> {
    fn add(&mut self, place: Place, message: String) {
        let fault = Fault::new(place, text::cut(&message, MESSAGE_CHARS));
        if self.faults.len() < FAULTS && !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    fn visit(&mut self, part: &'a IdedExpr) {
        if self.level >= MAX_LEVELS {
            return self.add(Place::START, TOO_DEEP.to_owned());
        }
        self.level += 1;
        self.part(part);
        self.level -= 1;
    }

    fn part(&mut self, part: &'a IdedExpr) {
        match &part.expr {
            Expr::Unspecified | Expr::Literal(_) => {}
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => self.visit(&select.operand),
            Expr::List(list) => list.elements.iter().for_each(|element| self.visit(element)),
            Expr::Call(call) => self.call(call),
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.visit(&entry.key);
                        self.visit(&entry.value);
                    }
                }
            }
            Expr::Struct(made) => {
                let message = format!("{} cannot be made here: an expression makes no messages", made.type_name);
                self.add(scan::first_use(self.source, &made.type_name, Use::Variable), message);
            }
            Expr::Comprehension(comprehension) => {
                self.visit(&comprehension.iter_range);
                self.visit(&comprehension.accu_init);
                let outer = self.scope.len();
                self.scope.extend([comprehension.iter_var.as_str(), comprehension.accu_var.as_str()]);
                self.scope.extend(comprehension.iter_var2.as_deref());
                self.visit(&comprehension.loop_cond);
                self.visit(&comprehension.loop_step);
                self.visit(&comprehension.result);
                self.scope.truncate(outer);
            }
        }
    }

    fn variable(&mut self, name: &str) {
        let bare = name.trim_start_matches('.');
        if !self.scope.contains(&bare) && !names::is_variable(bare) {
            let message = format!("{bare} is not known; the variables are {}", names::variables());
            self.add(scan::first_use(self.source, bare, Use::Variable), message);
        }
    }

    fn call(&mut self, call: &'a CallExpr) {
        let name = call.func_name.as_str();
        let is_operator = !name.starts_with(|first: char| first.is_ascii_alphabetic());
        let is_qualified = match call.target.as_deref().map(|target| &target.expr) {
            Some(Expr::Ident(namespace)) => names::is_qualified(namespace, name),
            _ => false,
        };
        let is_known = match &call.target {
            Some(_) => is_qualified || names::is_method(name),
            None => is_operator || names::is_function(name),
        };
        if !is_known {
            self.add(scan::first_use(self.source, name, Use::Call), unknown_function(name));
        }
        if let Some(target) = call.target.as_deref().filter(|_| !is_qualified) {
            self.visit(target);
        }
        call.args.iter().for_each(|argument| self.visit(argument));
        self.pattern(call);
    }

    /// A pattern that is written in the expression is the same for every event, so that it is checked now.
    fn pattern(&mut self, call: &CallExpr) {
        if let Some(pattern) = pattern_of(call)
            && let Err(error) = regex::Regex::new(pattern)
        {
            let error = error.to_string();
            let last = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            let place = scan::first_use(self.source, "matches", Use::Call);
            self.add(place, format!("the pattern {} is no regular expression: {last}", text::quoted(pattern)));
        }
    }

    /// The whole expression must be able to be true or false.
    fn root(&mut self, root: &IdedExpr) {
        let is_value = match &root.expr {
            Expr::Literal(LiteralValue::Boolean(_)) => false,
            Expr::Literal(_) | Expr::List(_) | Expr::Map(_) => true,
            Expr::Ident(name) => VARIABLES.iter().chain(&SEVERITIES).any(|known| known == name),
            Expr::Call(call) => matches!(
                call.func_name.as_str(),
                operators::ADD
                    | operators::SUBSTRACT
                    | operators::MULTIPLY
                    | operators::DIVIDE
                    | operators::MODULO
                    | operators::NEGATE
                    | "size"
                    | "string"
            ),
            _ => false,
        };
        if is_value {
            self.add(Place::START, "must be true or false, for example: severity >= HIGH".to_owned());
        }
    }
}

fn unknown_function(name: &str) -> String {
    match names::near(name) {
        Some(near) => format!("{name} is no function; it is written {near}"),
        None => format!("{name} is no function here"),
    }
}

/// Puts what is checked into the form that is evaluated.
fn rewrite(part: &mut IdedExpr) {
    match &mut part.expr {
        Expr::Call(call) => {
            if let Some(target) = &mut call.target {
                rewrite(target);
            }
            call.args.iter_mut().for_each(rewrite);
            turn_comparison(call);
            keep_pattern(call);
        }
        Expr::Comprehension(comprehension) => {
            rewrite(&mut comprehension.iter_range);
            rewrite(&mut comprehension.loop_step);
        }
        Expr::List(list) => list.elements.iter_mut().for_each(rewrite),
        Expr::Select(select) => rewrite(&mut select.operand),
        Expr::Ident(_) | Expr::Literal(_) | Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {}
    }
}

/// Puts a map that is written in an expression on the right of `==` and `!=`: it knows only maps of its own kind, and
/// objects of an event know both.
fn turn_comparison(call: &mut CallExpr) {
    let compares = matches!(call.func_name.as_str(), operators::EQUALS | operators::NOT_EQUALS);
    if compares && call.args.first().is_some_and(has_map) {
        call.args.reverse();
    }
}

/// Makes the pattern of `matches` now, if it is written in the expression.
fn keep_pattern(call: &mut CallExpr) {
    let Some(pattern) = pattern_of(call) else { return };
    let Ok(pattern) = regex::Regex::new(pattern) else { return };
    if call.target.is_none() {
        call.target = Some(Box::new(call.args.remove(0)));
    }
    if let Some(argument) = call.args.last_mut() {
        argument.expr = Expr::Literal(LiteralValue::Int(patterns::keep(pattern).into()));
    }
    patterns::MATCHES.clone_into(&mut call.func_name);
}

/// The pattern of `x.matches("…")` or `matches(x, "…")`.
fn pattern_of(call: &CallExpr) -> Option<&str> {
    let arguments = if call.target.is_some() { 1 } else { 2 };
    match call.args.last().map(|pattern| &pattern.expr) {
        Some(Expr::Literal(LiteralValue::String(pattern)))
            if call.func_name == "matches" && call.args.len() == arguments =>
        {
            Some(pattern.inner())
        }
        _ => None,
    }
}

fn has_map(part: &IdedExpr) -> bool {
    match &part.expr {
        Expr::Map(_) => true,
        Expr::List(list) => list.elements.iter().any(has_map),
        _ => false,
    }
}
