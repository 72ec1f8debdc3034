-- Stores what a batch changes about values, after its reports, in the same transaction: last_insert_rowid()
-- is the number of the last of them.
--
-- The parameters, each used once, JSON arrays or NULL for none: values without a label, as [reports stored
-- after theirs, instance, dimension, value]; sightings, as [dimension, value, instance, day]; releases
-- that lose their label; values that get one, as [dimension, value, proven].

-- The instance is compared so that a value is linked to its own report or to none.
INSERT OR ROLLBACK INTO unproven_values (report, dimension, value)
SELECT reports.id, given.value ->> 2, given.value ->> 3
FROM jsonb_each(?) AS given
CROSS JOIN reports ON reports.id = last_insert_rowid() - (given.value ->> 0)
WHERE reports.instance = unhex(given.value ->> 1);

INSERT OR ROLLBACK INTO sightings (dimension, value, instance, day)
SELECT value ->> 0, value ->> 1, unhex(value ->> 2), value ->> 3
FROM jsonb_each(?)
WHERE true
ON CONFLICT DO NOTHING;

DELETE FROM accepted_values
WHERE dimension = 'image_version' AND proven = 0
    AND value IN (SELECT displaced.value FROM json_each(?) AS displaced);

INSERT OR ROLLBACK INTO accepted_values (dimension, value, proven)
SELECT value ->> 0, value ->> 1, value ->> 2
FROM jsonb_each(?)
WHERE true
ON CONFLICT DO UPDATE SET proven = max(proven, excluded.proven);

