//! A table that fits the terminal: the columns that can give way do, the others stay whole.

use console::{measure_text_width, truncate_str};

use super::Paint;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Align {
    Left,
    Right,
}

pub struct Column {
    pub head: &'static str,
    pub align: Align,
    /// The least width that it gives way to; `None` if it never does.
    pub gives_way_to: Option<usize>,
}

impl Column {
    pub fn left(head: &'static str) -> Self {
        Self { head, align: Align::Left, gives_way_to: None }
    }

    pub fn right(head: &'static str) -> Self {
        Self { head, align: Align::Right, gives_way_to: None }
    }

    #[must_use]
    pub fn gives_way_to(mut self, width: usize) -> Self {
        self.gives_way_to = Some(width);
        self
    }
}

pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

const GAP: usize = 2;

impl Table {
    pub fn new(columns: Vec<Column>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// As wide as its contents, or as the terminal if that is narrower.
    pub fn render(&self, paint: Paint, width: Option<usize>) -> String {
        let widths = self.widths(width);
        let heads: Vec<String> = self.columns.iter().map(|column| paint.dim(column.head)).collect();
        let mut text = self.line(&heads, &widths, paint);
        for row in &self.rows {
            text.push_str(&self.line(row, &widths, paint));
        }
        text
    }

    fn widths(&self, limit: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(i, column)| {
                let cells =
                    self.rows.iter().filter_map(|row| row.get(i)).map(|c| measure_text_width(c));
                cells.max().unwrap_or(0).max(measure_text_width(column.head))
            })
            .collect();
        let Some(limit) = limit else { return widths };
        let total =
            |widths: &[usize]| widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        while total(&widths) > limit {
            let widest = (0..widths.len())
                .filter(|i| self.columns[*i].gives_way_to.is_some_and(|least| widths[*i] > least))
                .max_by_key(|i| widths[*i]);
            match widest {
                Some(i) => widths[i] -= 1,
                None => break,
            }
        }
        widths
    }

    fn line(&self, cells: &[String], widths: &[usize], paint: Paint) -> String {
        let tail = if paint.has_utf8() { "…" } else { "~" };
        let mut line = String::new();
        for ((cell, width), column) in cells.iter().zip(widths).zip(&self.columns) {
            let cell = truncate_str(cell, *width, tail);
            let space = " ".repeat(width.saturating_sub(measure_text_width(&cell)));
            if !line.is_empty() {
                line.push_str(&" ".repeat(GAP));
            }
            match column.align {
                Align::Left => line.extend([cell.as_ref(), &space]),
                Align::Right => line.extend([space.as_str(), &cell]),
            }
        }
        format!("{}\n", line.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(vec![
            Column::left("PROJECT"),
            Column::right("PORT"),
            Column::left("DOMAIN").gives_way_to(10),
        ]);
        table.row(vec!["shop".into(), "8001".into(), "shop.apps.example.com".into()]);
        table.row(vec!["a-longer-one".into(), "8002".into(), "x.example.com".into()]);
        table
    }

    #[test]
    fn columns_line_up() {
        assert_eq!(
            table().render(Paint::plain(), None),
            "PROJECT       PORT  DOMAIN\n\
             shop          8001  shop.apps.example.com\n\
             a-longer-one  8002  x.example.com\n"
        );
    }

    #[test]
    fn a_narrow_terminal_shortens_what_gives_way() {
        let text = table().render(Paint::plain(), Some(32));
        assert!(text.contains("a-longer-one  8002  x.example.c…\n"), "{text}");
        assert!(text.lines().all(|line| measure_text_width(line) <= 32), "{text}");
    }
}
