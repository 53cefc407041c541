//! The words that releases are written in: columns, tables and indexes as sea-query makes them.

use sea_orm::sea_query::{
    ColumnDef, ForeignKey, ForeignKeyAction, ForeignKeyCreateStatement, Index, Table, TableCreateStatement,
};

use super::Step;

pub(super) fn text(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).text().not_null().take()
}

pub(super) fn number(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).big_integer().not_null().take()
}

pub(super) fn blob(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).blob().not_null().take()
}

pub(super) fn boolean(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).boolean().not_null().take()
}

pub(super) fn nullable(mut column: ColumnDef) -> ColumnDef {
    let name = column.get_column_name();
    let kind = column.get_column_type().cloned();
    match kind {
        Some(kind) => ColumnDef::new_with_type(name, kind).null().take(),
        None => column.take(),
    }
}

pub(super) fn table(name: &'static str, columns: Vec<ColumnDef>) -> TableCreateStatement {
    let mut table = Table::create();
    table.table(name);
    for column in columns {
        table.col(column);
    }
    table
}

pub(super) fn made(table: TableCreateStatement) -> Step {
    Step::Table(Box::new(table))
}

/// Rows of `from` go with the row of `to` that they belong to.
pub(super) fn belongs(
    from: &'static str,
    column: &'static str,
    to: &'static str,
) -> ForeignKeyCreateStatement {
    ForeignKey::create().from(from, column).to(to, "id").on_delete(ForeignKeyAction::Cascade).to_owned()
}

pub(super) fn index(table: &'static str, name: &'static str, columns: &[&'static str]) -> Step {
    let mut index = Index::create();
    index.table(table).name(name);
    for column in columns {
        index.col(*column);
    }
    Step::Index(Box::new(index))
}

pub(super) fn unique(table: &'static str, name: &'static str, columns: &[&'static str]) -> Step {
    match index(table, name, columns) {
        Step::Index(mut index) => Step::Index(Box::new(index.unique().to_owned())),
        step => step,
    }
}

pub(super) fn primary(columns: &[&'static str]) -> sea_orm::sea_query::IndexCreateStatement {
    let mut index = Index::create();
    for column in columns {
        index.col(*column);
    }
    index.primary().to_owned()
}

/// One column more.
pub(super) fn added(table: &'static str, mut column: ColumnDef) -> Step {
    Step::Alter(Box::new(Table::alter().table(table).add_column(&mut column).to_owned()))
}
