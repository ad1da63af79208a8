//! A question before something that can't be taken back by itself.

use std::io::{BufRead, IsTerminal, Write};

use crate::error::{Error, Result};

/// Asks, unless `yes` was said beforehand. Whoever can't be asked has not agreed.
pub fn ask(question: &str, yes: bool, refused: impl Fn(&str) -> Error) -> Result<()> {
    if yes {
        return Ok(());
    }
    answer(question, |answer| matches!(answer, "y" | "yes"), refused)
}

/// Asks for an answer that is right.
pub fn answer(
    question: &str,
    is_right: impl Fn(&str) -> bool,
    refused: impl Fn(&str) -> Error,
) -> Result<()> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(refused("nobody is there to ask"));
    }
    let mut err = std::io::stderr();
    let _ = write!(err, "{question} ");
    let _ = err.flush();
    let mut answer = String::new();
    match std::io::stdin().lock().read_line(&mut answer) {
        Ok(_) if is_right(answer.trim()) => Ok(()),
        _ => Err(refused("the answer was another one")),
    }
}
