-- Distinct instances of windows of the calendar, and cohorts. Columns that name a day hold whole days since
-- 1970, UTC. A window is named by its kind (`day`, `week`, `month`, `quarter` or `year`) and its first day
-- (src/domain/calendar.rs).

-- Distinct instances that reported within a window, kept for ever. A window without a row has none.
-- `complete` is 0 where the window had to be counted anew after some of its reports were pruned: the
-- number is then the one that was known, or that of the reports that are left.
--
-- Numbers follow the reports up to the watermark `indexed` together with those of `calendar_moves`, which
-- are not added yet. While a window is being counted anew, a row alone may be negative.
CREATE TABLE calendar_counts (
    kind TEXT NOT NULL,
    first_day INTEGER NOT NULL,
    instances INTEGER NOT NULL,
    complete INTEGER NOT NULL CHECK (complete IN (0, 1)),
    PRIMARY KEY (kind, first_day)
) STRICT, WITHOUT ROWID;

-- Instances that were first seen in the week that begins with day `week`, and seen again so many weeks
-- later; 0 weeks later are all of them. `complete` is as above, of the later week.
CREATE TABLE cohorts (
    week INTEGER NOT NULL,
    later_weeks INTEGER NOT NULL,
    instances INTEGER NOT NULL,
    complete INTEGER NOT NULL CHECK (complete IN (0, 1)),
    PRIMARY KEY (week, later_weeks)
) STRICT, WITHOUT ROWID;

-- Number of instances (`moved`) that were seen on a day after `previous_day`, the day on which they were seen
-- before that; -1 where they were not. `first_week` is the week in which they were first seen, by its first
-- day; -1 where that is not dated. Each such step makes an instance a new one of every window of the day
-- that begins after the previous day. Written by the triggers, added to the tables above each minute.
--
-- A row whose previous day is later than its day is a report that was older than one of its instance
-- (an import). What it changes is found by a recount.
CREATE TABLE calendar_moves (
    day INTEGER NOT NULL,
    previous_day INTEGER NOT NULL,
    first_week INTEGER NOT NULL,
    moved INTEGER NOT NULL,
    PRIMARY KEY (day, previous_day, first_week)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER instance_seen_first AFTER INSERT ON instances WHEN new.last_seen >= 0 BEGIN
    INSERT INTO calendar_moves
    VALUES (
        new.last_seen / 86400, -1,
        new.first_seen / 86400 - (new.first_seen / 86400 + 3) % 7,
        1
    )
    ON CONFLICT DO UPDATE SET moved = moved + 1;
END;

CREATE TRIGGER instance_seen_on_a_day AFTER UPDATE OF last_seen ON instances
WHEN new.last_seen >= 0 AND new.last_seen / 86400 > old.last_seen / 86400
BEGIN
    INSERT INTO calendar_moves
    VALUES (
        new.last_seen / 86400,
        max(old.last_seen / 86400, -1),
        iif(new.first_seen < 0, -1, new.first_seen / 86400 - (new.first_seen / 86400 + 3) % 7),
        1
    )
    ON CONFLICT DO UPDATE SET moved = moved + 1;
END;

-- Windows that are to be counted anew from the reports: those of a kind that begin from one day up to another
-- one. The kind `cohort` stands for the cohorts of weeks. Deleted when they are counted.
CREATE TABLE calendar_recounts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    first_day INTEGER NOT NULL,
    last_day INTEGER NOT NULL
) STRICT;

-- Whatever is stored already. The days are before and after all.
INSERT INTO calendar_recounts (kind, first_day, last_day)
SELECT value, -7, 1000000000
FROM json_each('["day", "week", "month", "quarter", "year", "cohort"]')
WHERE EXISTS (SELECT 1 FROM rollups);

-- Time before which reports were pruned, in milliseconds since 1970. Of earlier ones the last hour is known
-- in which one may have been.
INSERT INTO watermarks
SELECT 'pruned_until', coalesce(max(period) + 1, 0) * 3600000
FROM rollups
WHERE span = 1 AND first_report <= (SELECT position FROM watermarks WHERE name = 'pruned');

-- One row a version that half of the active instances ran: the end of the hour at which they did for the first
-- time. Found in the snapshots up to the hour of the watermark `adopted`.
CREATE TABLE adoptions (
    image_version TEXT PRIMARY KEY,
    hour INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO watermarks VALUES ('adopted', -1);
