//! The calls of now, of all nodes that share the database.
//!
//! Each node knows its own calls. Where several share a database each leaves a picture of them there every few seconds, of bounded size, and
//! takes the others' from there.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Desk, DeskError};
use crate::{canteen::EnteId, store::Db};

/// Calls of a node that are shown one by one; of more than these only numbers are told.
pub const MOST_SHOWN: usize = 100;
/// A picture this old is of a node that is gone.
const STALE: TimeDelta = TimeDelta::seconds(20);
/// Nodes whose pictures are read: more than share a database.
const MOST_NODES: i64 = 50;

/// A call of now. Nothing in it tells whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveLine {
    /// The caller's number, masked; `None` when withheld.
    pub caller: Option<String>,
    /// Trunk.
    pub trunk: String,
    /// When it came (UTC).
    pub at: DateTime<Utc>,
    /// Where in the plan it is: the state's title.
    pub step: String,
    /// Loss of the caller's packets, in 1/10,000; `None` as long as nothing was measured.
    pub loss: Option<u16>,
    /// Mean jitter, in µs.
    pub jitter_us: Option<u32>,
    /// Estimated mean opinion score, times 100.
    pub mos: Option<u16>,
}

/// The calls of now of an ente.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LivePicture {
    /// How many.
    pub calls: u64,
    /// The longest of them, at most [`MOST_SHOWN`] of a node.
    pub lines: Vec<LiveLine>,
    /// How many in each place of the plan.
    pub steps: Vec<(String, u64)>,
    /// How many on each trunk.
    pub trunks: Vec<(String, u64)>,
}

impl LivePicture {
    /// Adds another node's picture.
    pub fn add(&mut self, other: Self) {
        self.calls += other.calls;
        let sum = |ours: &mut Vec<(String, u64)>, theirs: Vec<(String, u64)>| {
            for (name, n) in theirs {
                match ours.iter_mut().find(|(other, _)| *other == name) {
                    Some((_, sum)) => *sum += n,
                    None => ours.push((name, n)),
                }
            }
            ours.sort();
        };
        sum(&mut self.steps, other.steps);
        sum(&mut self.trunks, other.trunks);
        self.lines.extend(other.lines);
        self.lines.sort_by_key(|line| line.at);
        self.lines.truncate(MOST_SHOWN);
    }
}

impl Desk {
    /// Do several nodes share the database? The embedded one has one.
    pub fn is_shared(&self) -> bool {
        matches!(self.db, Db::Postgres(_))
    }

    /// Leaves the picture of this node's calls for the others; pictures of nodes that are gone are swept away.
    pub async fn leave_live_picture(&self, node: &str, ente: EnteId, picture: &LivePicture) -> Result<(), DeskError> {
        let text = serde_json::to_string(picture).unwrap_or_default();
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        tx.put_live_picture(node, ente, at, &text).await?;
        tx.sweep_live_pictures(at - TimeDelta::hours(1)).await?;
        tx.commit().await?;
        Ok(())
    }

    /// What the other nodes have left, all together, and how many nodes that were.
    pub async fn live_pictures(&self, but: &str, ente: EnteId) -> Result<(LivePicture, usize), DeskError> {
        let mut tx = self.db.read().await?;
        let since = tx.instant(&self.clock).await? - STALE;
        let texts = tx.live_pictures(but, ente, since, MOST_NODES).await?;
        let mut all = LivePicture::default();
        // A picture that cannot be read is of another version of the program: better none than an error.
        let pictures: Vec<LivePicture> = texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
        let nodes = pictures.len();
        for picture in pictures {
            all.add(picture);
        }
        Ok((all, nodes))
    }
}
