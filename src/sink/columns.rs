//! Text in columns, without lines around it.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Row, Table, presets};

/// A table with this header.
pub fn table(header: impl Into<Row>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    table
}

/// Writes a table, without blanks at the ends of its lines.
///
/// # Errors
/// When the output fails.
pub fn write(out: &mut dyn Write, table: &Table) -> io::Result<()> {
    table.lines().try_for_each(|line| writeln!(out, "{}", line.trim_end()))
}
