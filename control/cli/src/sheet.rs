//! Tables for people: a rule under the head and nothing else, so that they can be read, copied and
//! cut with a plain `awk`.

use comfy_table::{Cell, CellAlignment, LineStyle, Table, TableStyle};

/// An empty table with a head.
pub(crate) fn sheet(head: &[&str]) -> Table {
    let rule = LineStyle::none().fill('─').junction('─');
    let mut table = Table::new();
    table.load_style(TableStyle::new().header_separator(rule));
    table.set_header(head.to_vec());
    table
}

/// A number's cell.
pub(crate) fn right(text: impl ToString) -> Cell {
    Cell::new(text.to_string()).set_alignment(CellAlignment::Right)
}
