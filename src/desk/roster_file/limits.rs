//! How much an import may bring. A large comune has some twenty thousand children in its canteens.

/// Files in one import.
pub const FILES: usize = 16;
/// Bytes of a file.
pub const FILE_BYTES: usize = 20_000_000;
/// Sheets of a workbook.
pub const SHEETS: usize = 24;
/// Rows of a table, headings included.
pub const ROWS: usize = 50_000;
/// Columns of a table.
pub const COLUMNS: usize = 80;
/// Characters of a cell.
pub const CELL_CHARS: usize = 300;
/// Characters of all cells of a table: shared strings let a small workbook name a long text very often.
pub const TABLE_CHARS: usize = 40_000_000;
/// Parts (zip entries) of a workbook.
pub const ZIP_ENTRIES: usize = 1_000;
/// Bytes of all parts of a workbook, unpacked. A roster of fifty thousand rows is a third of it.
pub const UNPACKED_BYTES: u64 = 100_000_000;
