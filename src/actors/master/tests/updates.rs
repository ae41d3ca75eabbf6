//! What is written of what hosts found.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::db::{Batch, CommitError, Committed, RowChange};
use crate::domain::update::{Checked, Finding, Findings, Kind, Scanned, Standing};

/// Counts the rows of updates that are written.
struct Counting {
    db: Db,
    rows: AtomicUsize,
}

#[async_trait]
impl Writer for Counting {
    async fn commit_many(&self, batches: Vec<Batch>) -> Vec<Result<Committed, CommitError>> {
        let rows = batches.iter().flat_map(|batch| &batch.rows).map(|row| match row {
            RowChange::PutUpdates { changes, .. } => changes.len(),
            _ => 0,
        });
        self.rows.fetch_add(rows.sum(), Ordering::Relaxed);
        self.db.commit_many(batches).await
    }
}

/// Tells of a look as an agent does: what was found is sent if the master asks for it.
async fn looked(rig: &Rig, agent: &AgentId, digest: &str, items: Vec<Finding>) {
    let checked = Checked {
        kind: Kind::Apt,
        ok: true,
        as_of: None,
        problem: None,
        is_complete: true,
        digest: digest.into(),
        count: items.len(),
        pending: items.len(),
    };
    let scan = Scanned { at: rig.master.clock.now(), scanners: vec![checked.clone()] };
    rig.report(agent, vec![Report::Scanned { scan }]).await;
    rig.report(agent, vec![Report::Findings { findings: Findings { checked, items } }]).await;
}

#[test]
fn of_five_thousand_updates_what_changed_is_written_and_nothing_else() {
    run(async {
        let db = Db::in_memory(Io::current()).await.unwrap();
        let writer = Arc::new(Counting { db: db.clone(), rows: AtomicUsize::new(0) });
        let rig = Rig::writing_through(db, writer.clone()).await;
        let (agent, raw) = rig.enrolled("edge").await;
        rig.register(&raw, native(Some(&agent))).await.unwrap();
        let newer = |name: &str, version: &str| {
            let mut finding = Finding::new(name, Standing::Newer);
            finding.available_version = Some(version.into());
            finding
        };
        let mut items: Vec<Finding> = (0..5_000).map(|n| newer(&format!("lib{n:04}"), "2")).collect();
        for (digest, change, written) in [
            ("d1", None, 5_000),
            ("d1", None, 0),
            // Another digest with the same in it.
            ("d2", None, 0),
            ("d3", Some(newer("lib0007", "3")), 1),
        ] {
            if let Some(change) = change {
                items[7] = change;
            }
            looked(&rig, &agent, digest, items.clone()).await;
            assert_eq!(writer.rows.swap(0, Ordering::Relaxed), written, "{digest}");
        }
        items.remove(9);
        looked(&rig, &agent, "d4", items).await;
        assert_eq!(writer.rows.swap(0, Ordering::Relaxed), 1, "the one that is gone");
    });
}
