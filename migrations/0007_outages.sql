-- Outages: times in which the server was down, or its clock was wrong, so that nothing is known of them.

-- One row an outage: the time between two stretches of the clock. `stretch` is the number of the one after
-- it. Times are milliseconds since 1970; `ended_at` is NULL while the clock is known to be wrong. Rows
-- follow their stretches when these are corrected, and stay when they are forgotten.
CREATE TABLE outages (
    stretch INTEGER PRIMARY KEY,
    began_at INTEGER NOT NULL,
    ended_at INTEGER,
    reason TEXT NOT NULL CHECK (reason IN ('down', 'clock'))
) STRICT;
