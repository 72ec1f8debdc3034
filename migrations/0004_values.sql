-- Values that are not well known: those with a label of their own, and what is known of the others.

-- One row a value that has a label of its own and is in no list of src/domain/well_known.rs. It is
-- proven (or accepted by an operator), or a release that has its label on trust, while the budget of
-- releases lasts. A row on trust is deleted when a proven release takes its place: its counts stay, and
-- its later reports count as `other`. No other row is ever deleted.
CREATE TABLE accepted_values (
    id INTEGER PRIMARY KEY,
    dimension TEXT NOT NULL,
    value TEXT NOT NULL,
    proven INTEGER NOT NULL CHECK (proven IN (0, 1)),
    UNIQUE (dimension, value)
) STRICT;

-- One row a report and field whose value had no label and counts as `other`: the value itself. Goes with
-- its report. Bounded by the program that stores batches.
CREATE TABLE unproven_values (
    report INTEGER NOT NULL REFERENCES reports (id),
    dimension TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (report, dimension)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER unproven_report_removed AFTER DELETE ON reports BEGIN
    DELETE FROM unproven_values WHERE report = old.id;
END;

-- Instances and days (days since 1970) that reported a value which is not proven yet, as far as a proof
-- needs them: four rows a value at most. They outlast their reports, so that retention takes no proof
-- away, and go when the value is proven.
CREATE TABLE sightings (
    id INTEGER PRIMARY KEY,
    dimension TEXT NOT NULL,
    value TEXT NOT NULL,
    instance BLOB NOT NULL,
    day INTEGER NOT NULL,
    UNIQUE (dimension, value, instance, day)
) STRICT;

-- The newest 100,000 stay: what a flood of made-up values has pushed out can be seen again.
CREATE TRIGGER sighting_added AFTER INSERT ON sightings BEGIN
    DELETE FROM sightings WHERE id <= new.id - 100000;
END;

CREATE TRIGGER value_accepted AFTER INSERT ON accepted_values WHEN new.proven = 1 BEGIN
    DELETE FROM sightings WHERE dimension = new.dimension AND value = new.value;
END;

CREATE TRIGGER value_proven AFTER UPDATE ON accepted_values WHEN new.proven = 1 BEGIN
    DELETE FROM sightings WHERE dimension = new.dimension AND value = new.value;
END;

-- Values that were told apart so far keep their labels. Releases among them have it on trust, since a
-- flood of made-up ones may have used up their budget.
INSERT INTO accepted_values (dimension, value, proven)
SELECT 'image_version', image_version,
    NOT (image_version GLOB 'v[0-9]*' AND substr(image_version, 2) NOT GLOB '*[^0-9.]*')
FROM profiles GROUP BY image_version ORDER BY min(id);

INSERT INTO accepted_values (dimension, value, proven)
SELECT 'architecture', architecture, 1 FROM profiles GROUP BY architecture
UNION ALL
SELECT 'os', os, 1 FROM profiles GROUP BY os
UNION ALL
SELECT 'container_runtime', container_runtime, 1 FROM profiles GROUP BY container_runtime
UNION ALL
SELECT 'db_type', db_type, 1 FROM profiles GROUP BY db_type
UNION ALL
SELECT 'telemetry_version', telemetry_version, 1 FROM profiles GROUP BY telemetry_version;
