-- Notes the rows of an import whose reports are stored with them. A row that is noted already ends the
-- transaction. The parameter: a JSON array of [created_at, row_key].
INSERT OR ROLLBACK INTO imported_rows (created_at, row_key)
SELECT value ->> 0, value ->> 1
FROM jsonb_each(?);

-- Says that an import is not finished: one that is interrupted is finished by the next one, even if that
-- finds nothing new.
INSERT OR IGNORE INTO watermarks VALUES ('importing', 0);

-- They are of any day, and a server that runs meanwhile must not count on days that it has packed.
UPDATE watermarks SET position = 0 WHERE name = 'packed';
