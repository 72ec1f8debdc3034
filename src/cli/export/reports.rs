//! Export of single reports.

use std::io::BufWriter;

use super::{BUFFER, Progress, output::Output};
use crate::{
    domain::Selection,
    storage::{Database, RecordFormat, RecordWriter},
};

/// Writes the reports of a selection that are stored now.
pub async fn write(
    database: &Database,
    format: RecordFormat,
    selection: &Selection,
    output: &mut Output,
) -> anyhow::Result<()> {
    let mut writer = RecordWriter::begin(format, BufWriter::with_capacity(BUFFER, output))?;
    let (first, last) = database.numbers_to_export(selection).await?;
    let (mut after, mut written) = (first, 0);
    let mut progress = Progress::begin();
    while let Some((position, records)) = database.page_to_export(after, last).await? {
        for record in records.iter().filter(|record| record.is_selected(selection)) {
            writer.write(record)?;
            written += 1;
        }
        after = position;
        progress.show(|| {
            let done = (after - first) * 100 / (last - first).max(1);
            format!("exported {written} reports ({done} %)")
        });
    }
    progress.end();
    Ok(writer.flush()?)
}
