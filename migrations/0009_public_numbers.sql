-- Numbers of the public view.

-- One row a day at whose close the public view was on. `day` holds whole days since 1970, UTC; `numbers` is
-- what is published, rounded and without small groups, as JSON (src/domain/public_numbers.rs). A row is never
-- made a second time with other data: the difference would show single instances. The last row is shown. Rows
-- of days to come, of a clock that was ahead, go with the next row.
CREATE TABLE public_numbers (
    day INTEGER PRIMARY KEY,
    numbers TEXT NOT NULL
) STRICT;
