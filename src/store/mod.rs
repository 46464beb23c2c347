//! The database: sqlx only, a file per aggregate, both databases (design §4).
