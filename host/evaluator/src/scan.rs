//! Places in an expression: the parser keeps none for names.

use cel::parser::pratt_parser::{Lexer, TokenKind};

/// A place: line and column from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Place {
    pub(crate) const START: Self = Self { line: 1, column: 1 };

    /// The place of a byte.
    pub(crate) fn of_byte(text: &str, byte: usize) -> Self {
        let before = text.get(..byte.min(text.len())).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).saturating_add(1);
        Self { line: number(before.matches('\n').count()), column: number(before[line_start..].chars().count()) }
    }

    /// The place of a byte that the parser gives as line and column, the column in bytes.
    pub(crate) fn of_position(text: &str, (line, column): (isize, isize)) -> Self {
        let line = usize::try_from(line).unwrap_or(1).max(1);
        let column = usize::try_from(column).unwrap_or(1).max(1);
        let line_start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
        let mut byte = (line_start + column - 1).min(text.len());
        while !text.is_char_boundary(byte) {
            byte -= 1;
        }
        Self::of_byte(text, byte)
    }
}

/// How a name is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// A variable.
    Variable,
    /// A function, called on its own or on a value.
    Call,
}

/// The place where a name is first used so; the beginning if it is not found.
pub(crate) fn first_use(text: &str, name: &str, used: Use) -> Place {
    let mut lexer = Lexer::new(text);
    let mut tokens = Vec::new();
    loop {
        let token = lexer.lex();
        match token.kind {
            TokenKind::TokEnd | TokenKind::TokError => break,
            TokenKind::TokWhitespace | TokenKind::TokComment => {}
            _ => tokens.push(token),
        }
    }
    let is_use = |index: usize| {
        let token = tokens[index];
        let is_member = index > 0 && tokens[index - 1].kind == TokenKind::TokDot;
        let is_called = tokens.get(index + 1).is_some_and(|next| next.kind == TokenKind::TokLeftParen);
        let fits = match used {
            Use::Variable => !is_member && !is_called,
            Use::Call => is_called,
        };
        token.kind == TokenKind::TokIdent && text.get(token.start..token.end) == Some(name) && fits
    };
    (0..tokens.len())
        .find(|&index| is_use(index))
        .map_or(Place::START, |index| Place::of_byte(text, tokens[index].start))
}
