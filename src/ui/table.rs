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
    /// Left out where the rest would not fit otherwise; the last such column goes first.
    pub is_extra: bool,
}

impl Column {
    pub fn left(head: &'static str) -> Self {
        Self { head, align: Align::Left, gives_way_to: None, is_extra: false }
    }

    pub fn right(head: &'static str) -> Self {
        Self { head, align: Align::Right, gives_way_to: None, is_extra: false }
    }

    #[must_use]
    pub fn gives_way_to(mut self, width: usize) -> Self {
        self.gives_way_to = Some(width);
        self
    }

    #[must_use]
    pub fn extra(mut self) -> Self {
        self.is_extra = true;
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
    pub fn render(&self, paint: Paint, limit: Option<usize>) -> String {
        let (shown, widths) = self.fit(limit.unwrap_or(usize::MAX));
        let pick = |cells: &[String]| -> Vec<String> {
            shown.iter().map(|i| cells.get(*i).cloned().unwrap_or_default()).collect()
        };
        let heads: Vec<String> = self.columns.iter().map(|column| paint.dim(column.head)).collect();
        let mut text = self.line(&pick(&heads), &shown, &widths, paint);
        for row in &self.rows {
            text.push_str(&self.line(&pick(row), &shown, &widths, paint));
        }
        text
    }

    /// The columns that are shown, and their widths: narrower ones first, then fewer.
    fn fit(&self, limit: usize) -> (Vec<usize>, Vec<usize>) {
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        loop {
            let mut widths: Vec<usize> = shown.iter().map(|i| self.widest(*i)).collect();
            let total = |widths: &[usize]| {
                widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
            };
            while total(&widths) > limit {
                let gives = |n: usize| {
                    self.columns[shown[n]].gives_way_to.is_some_and(|least| widths[n] > least)
                };
                match (0..widths.len()).filter(|n| gives(*n)).max_by_key(|n| widths[*n]) {
                    Some(n) => widths[n] -= 1,
                    None => break,
                }
            }
            let extra = shown.iter().rposition(|i| self.columns[*i].is_extra);
            match extra.filter(|_| total(&widths) > limit) {
                Some(n) => drop(shown.remove(n)),
                None => return (shown, widths),
            }
        }
    }

    fn widest(&self, column: usize) -> usize {
        let cells =
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| measure_text_width(cell));
        cells.max().unwrap_or(0).max(measure_text_width(self.columns[column].head))
    }

    fn line(&self, cells: &[String], shown: &[usize], widths: &[usize], paint: Paint) -> String {
        let tail = if paint.has_utf8() { "…" } else { "~" };
        let mut line = String::new();
        for ((cell, width), i) in cells.iter().zip(widths).zip(shown) {
            let cell = truncate_str(cell, *width, tail);
            let space = " ".repeat(width.saturating_sub(measure_text_width(&cell)));
            if !line.is_empty() {
                line.push_str(&" ".repeat(GAP));
            }
            match self.columns[*i].align {
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
    fn what_is_extra_goes_where_nothing_else_helps() {
        let mut table = Table::new(vec![
            Column::left("NAME"),
            Column::left("KIND").extra(),
            Column::left("AGE").extra(),
        ]);
        table.row(vec!["something".into(), "a kind".into(), "an age".into()]);
        assert_eq!(table.render(Paint::plain(), Some(18)), "NAME       KIND\nsomething  a kind\n");
        assert_eq!(table.render(Paint::plain(), Some(5)), "NAME\nsomething\n");
    }

    #[test]
    fn a_narrow_terminal_shortens_what_gives_way() {
        let text = table().render(Paint::plain(), Some(32));
        assert!(text.contains("a-longer-one  8002  x.example.c…\n"), "{text}");
        assert!(text.lines().all(|line| measure_text_width(line) <= 32), "{text}");
    }
}
