//! docs/accuracy.md, made of a template and the numbers of a world.

use std::{fmt::Write as _, fs};

use super::{
    Outcome, Size,
    published::Look,
    row::{Row, Tolerance, float, number},
    truth::Client,
    world::FLOOD_RELEASES,
};

const TEMPLATE: &str = include_str!("page.md");
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/accuracy.md");

pub fn write(size: Size, outcome: &Outcome) {
    let Outcome { looks, whole, undone, truth, requests } = outcome;
    let shown = |count: u64| number(float(count));
    let deployments = |client| shown(truth.deployments_ever(client));
    let world = [
        ("stock clients: a new id at each start, sent once", deployments(Client::Stock)),
        (
            "clients that keep their id, send starts once, and state the time by clocks that may be decades off",
            deployments(Client::Keeper),
        ),
        ("shell clients: an id that is kept, heartbeats, retries", deployments(Client::Shell)),
        ("shell clients on copied volumes, of these", shown(truth.copied.0)),
        ("starts that happened", shown(truth.happened)),
        ("reports sent again although they were stored", shown(truth.repeated)),
        ("made-up reports of the flood", shown(truth.made_up())),
        ("requests", shown(*requests)),
    ];
    let world = world.map(|(name, count)| format!("| {name} | {count} |")).join("\n");
    let environment = match size.deployments {
        100_000 => String::new(),
        other => format!("ACCURACY_DEPLOYMENTS={other} "),
    };
    let command = format!(
        "{environment}cargo test --release --test suite accuracy:: -- --ignored --nocapture"
    );
    let unknowable: Vec<String> = whole.rotating.iter().map(Row::to_string).collect();
    let others: usize = looks.iter().map(|look| look.others.len()).sum();
    let lost = &truth.lost;
    let on_their_way = truth.happened - truth.arrived() - lost.all();
    let page = [
        ("deployments", shown(u64::from(size.deployments))),
        ("requests", shown(*requests)),
        ("command", command),
        ("seed", size.seed.to_string()),
        ("world", world),
        ("flood", shown(truth.made_up())),
        ("releases", shown(FLOOD_RELEASES as u64)),
        ("moments", moments(looks)),
        ("periods", table(&whole.periods)),
        ("calendar", table(&whole.calendar)),
        ("adoption", table(&whole.adoption)),
        ("outages", table(&whole.outages)),
        ("undone", undone.lines()),
        ("named", undone.preview.to_string()),
        ("lifted", shown(undone.lifted.len() as u64)),
        ("others", shown(others as u64)),
        ("values", table(&whole.values)),
        ("releases_table", table(&whole.releases)),
        ("startup", table(&whole.startup)),
        ("unknowable", unknowable.join("\n")),
        ("copied", shown(truth.copied.0)),
        ("noticed", shown(truth.copied.1)),
        ("lost", shown(lost.all())),
        ("happened", shown(truth.happened)),
        ("in_outage", shown(lost.in_outage)),
        ("in_network", shown(lost.in_network)),
        ("stopped", shown(lost.container_stopped)),
        ("given_up", shown(lost.given_up)),
        ("on_their_way", shown(on_their_way)),
        ("late", shown(truth.late)),
    ]
    .iter()
    .fold(TEMPLATE.to_owned(), |page, (name, text)| page.replace(&format!("{{{name}}}"), text));
    fs::write(FILE, page).unwrap();
}

fn table(rows: &[Row]) -> String {
    let mut table = "| Number | Published | Truth | Tolerance |\n|---|---:|---:|---|".to_owned();
    rows.iter().for_each(|row| write!(table, "\n{row}").unwrap());
    table
}

/// A line for each moment. The truth stands beside a number that differs from it.
fn moments(looks: &[Look]) -> String {
    let names = looks[0].shown.iter().map(|row| row.name.replace(", all", ""));
    let head = format!("| Moment | {} |", names.collect::<Vec<_>>().join(" | "));
    let rule = format!("|---|{}", "---:|".repeat(looks[0].shown.len()));
    let mut lines = vec![head, rule];
    for look in looks {
        let cells = look.shown.iter().map(|row| match row.tolerance {
            Tolerance::Exact => number(row.published),
            _ if (row.published - row.truth).abs() < 0.5 => number(row.published),
            _ => format!("{} ({})", number(row.published), number(row.truth)),
        });
        lines.push(format!("| {} | {} |", look.name, cells.collect::<Vec<_>>().join(" | ")));
    }
    lines.join("\n")
}
