-- The clock of the machine, which may be wrong.

-- Reports that were received while the clock was known to be wrong have no date yet: their
-- `received_at` is negative (src/domain/stretch.rs). They count in all time and in no period.

-- Position of closing: the last hour whose end is taken. A fleet that rests has no more snapshots.
INSERT INTO watermarks
SELECT 'closed', max(hour) FROM snapshots HAVING max(hour) IS NOT NULL;

-- One row a stretch of the clock: a time of running in which it agreed with the monotonic one. Those
-- of one `run` of the server lie a known time apart. The reports of a stretch have the numbers after
-- `after_report`, up to the next stretch.
--
-- `began_at` and `ended_at` are milliseconds since 1970 by the clock of the stretch or, where
-- `dated` is 0, since the start of the run. `ran_ms` is the time of running; `steady_ms` the time for
-- which the clock has agreed, stretches before this one included; `needed_ms` how long it must have
-- agreed before something may be deleted for its age; `moved_ms` by how much the run put it back.
CREATE TABLE clock_stretches (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    dated INTEGER NOT NULL CHECK (dated IN (0, 1)),
    after_report INTEGER NOT NULL,
    began_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    ran_ms INTEGER NOT NULL,
    steady_ms INTEGER NOT NULL,
    needed_ms INTEGER NOT NULL,
    moved_ms INTEGER NOT NULL
) STRICT;

-- One row a correction that is not finished: the reports with the numbers after `after_report` up to
-- `last_report` and with times from `from_ms` up to `until_ms` get times that are `shift_ms` later, but
-- none before `earliest_ms` or after `latest_ms`. `position` is the last number that is done.
CREATE TABLE corrections (
    id INTEGER PRIMARY KEY,
    after_report INTEGER NOT NULL,
    last_report INTEGER NOT NULL,
    from_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    shift_ms INTEGER NOT NULL,
    earliest_ms INTEGER NOT NULL,
    latest_ms INTEGER NOT NULL,
    position INTEGER NOT NULL
) STRICT;
