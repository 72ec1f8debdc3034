//! Orders that a server carries out, or the command itself where none runs.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;

use crate::storage::{self, Database, Writer};

/// Time between two looks at an order.
const LOOK: Duration = Duration::from_millis(200);
/// Looks after which it is stated that a server is waited for.
const PATIENCE: u32 = 50;

/// Waits until an order is carried out. Where no server runs this process does it.
pub async fn carried_out(
    database: &mut Database,
    writer: &mut Writer,
    now: Timestamp,
    mut is_done: impl AsyncFnMut(&mut Writer) -> storage::Result<bool>,
) -> anyhow::Result<()> {
    let mut looks = 0_u32;
    while !is_done(writer).await? {
        if database.lock_out_servers()? && writer.carry_out_alone(now).await?.is_some() {
            continue;
        }
        looks += 1;
        if looks == PATIENCE {
            eprintln!(
                "waiting for the server that runs; the order is written down, and this command may be ended"
            );
        }
        sleep(LOOK).await;
    }
    Ok(())
}
