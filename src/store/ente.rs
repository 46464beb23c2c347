//! Enti: the bodies that run a canteen.

use chrono::NaiveTime;

use super::{StoreError, Tx, on};
use crate::canteen::{EnteId, window::Window};

/// An ente and its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ente {
    /// Row.
    pub id: EnteId,
    /// Short name used in the configuration, e.g. `borgo-san-lieto`.
    pub slug: String,
    /// Full name.
    pub name: String,
    /// The school office's telephone number.
    pub office_phone: Option<String>,
    /// Window, cut-off and time zone.
    pub window: Window,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    slug: String,
    name: String,
    office_phone: Option<String>,
    opens: NaiveTime,
    cutoff: NaiveTime,
    zone: String,
}

impl TryFrom<Row> for Ente {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let zone = row.zone.parse().map_err(|_| StoreError::Unknown { what: "time zone", value: row.zone.clone() })?;
        Ok(Self {
            id: EnteId(row.id),
            slug: row.slug,
            name: row.name,
            office_phone: row.office_phone,
            window: Window { opens: row.opens, cutoff: row.cutoff, zone },
        })
    }
}

impl Tx {
    /// The ente with this number.
    pub async fn ente(&mut self, id: EnteId) -> Result<Option<Ente>, StoreError> {
        const SQL: &str = "SELECT id, slug, name, office_phone, opens, cutoff, zone FROM ente WHERE id = $1";
        let row: Option<Row> = on!(self, |c| sqlx::query_as(SQL).bind(id.0).fetch_optional(c))?;
        row.map(Ente::try_from).transpose()
    }

    /// All enti, by short name.
    pub async fn enti(&mut self) -> Result<Vec<Ente>, StoreError> {
        const SQL: &str = "SELECT id, slug, name, office_phone, opens, cutoff, zone FROM ente ORDER BY slug";
        let rows: Vec<Row> = on!(self, |c| sqlx::query_as(SQL).fetch_all(c))?;
        rows.into_iter().map(Ente::try_from).collect()
    }

    /// Creates the ente, or brings its name and settings up to date; what the office has set itself stays as it is.
    pub async fn put_ente(&mut self, slug: &str, name: &str, office_phone: Option<&str>, window: &Window) -> Result<EnteId, StoreError> {
        const SQL: &str = "INSERT INTO ente (slug, name, office_phone, opens, cutoff, zone) VALUES ($1, $2, $3, $4, $5, $6)
            ON CONFLICT (slug) DO UPDATE SET name = excluded.name, office_phone = excluded.office_phone,
                opens = excluded.opens, cutoff = excluded.cutoff, zone = excluded.zone
            WHERE NOT EXISTS (SELECT 1 FROM ente_settings t WHERE t.ente_id = ente.id)
            RETURNING id";
        let put: Option<i64> = on!(&mut *self, |c| sqlx::query_scalar(SQL)
            .bind(slug)
            .bind(name)
            .bind(office_phone)
            .bind(window.opens)
            .bind(window.cutoff)
            .bind(window.zone.name())
            .fetch_optional(c))?;
        if let Some(id) = put {
            return Ok(EnteId(id));
        }
        let id: i64 = on!(self, |c| sqlx::query_scalar("SELECT id FROM ente WHERE slug = $1").bind(slug).fetch_one(c))?;
        Ok(EnteId(id))
    }
}
