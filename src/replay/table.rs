//! Columns for people: as wide as what stands in them.

use crate::printed::thousands;

/// A table that is printed once it is full.
#[derive(Debug)]
pub(super) struct Table {
    /// Aligned right?
    columns: Vec<bool>,
    lines: Vec<Line>,
}

#[derive(Debug)]
enum Line {
    Row(Vec<String>),
    /// Of the row above; as wide as it is.
    Note(String),
}

impl Table {
    /// A title that begins with `>` is that of numbers.
    pub(super) fn new(titles: &[&str]) -> Table {
        let columns = titles.iter().map(|title| title.starts_with('>')).collect();
        let titles = titles.iter().map(|title| title.trim_start_matches('>').to_owned()).collect();
        Table { columns, lines: vec![Line::Row(titles)] }
    }

    pub(super) fn row(&mut self, cells: &[String]) {
        self.lines.push(Line::Row(cells.to_vec()));
    }

    pub(super) fn note(&mut self, text: String) {
        self.lines.push(Line::Note(text));
    }

    pub(super) fn text(&self) -> String {
        let mut widths = vec![0; self.columns.len()];
        for line in &self.lines {
            if let Line::Row(cells) = line {
                for (width, cell) in widths.iter_mut().zip(cells) {
                    *width = (*width).max(cell.chars().count());
                }
            }
        }
        let mut out = String::new();
        for line in &self.lines {
            let mut text = match line {
                Line::Note(text) => text.clone(),
                Line::Row(cells) => {
                    let padded = cells.iter().zip(&widths).zip(&self.columns).map(|((cell, width), is_right)| {
                        if *is_right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
                    });
                    padded.collect::<Vec<_>>().join("  ")
                }
            };
            text.truncate(text.trim_end().len());
            out.push_str(&text);
            out.push('\n');
        }
        out
    }
}

/// `+1,204`, `-3`, `=`.
pub(super) fn signed(change: i64) -> String {
    match change {
        0 => "=".to_owned(),
        _ => format!("{}{}", if change < 0 { '-' } else { '+' }, thousands(change.unsigned_abs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right_and_notes_below_their_row() {
        let mut table = Table::new(&["rule", ">calls", "what"]);
        table.row(&["a".to_owned(), thousands(1_234_567), "x".to_owned()]);
        table.note("  of it".to_owned());
        table.row(&["long-name".to_owned(), thousands(12), String::new()]);
        assert_eq!(
            table.text(),
            "rule           calls  what\na          1,234,567  x\n  of it\nlong-name         12\n"
        );
        assert_eq!([signed(0), signed(-1_000), signed(7)], ["=", "-1,000", "+7"]);
    }
}
