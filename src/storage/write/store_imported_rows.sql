-- Notes the rows of an import whose reports are stored with them. A row that is noted already ends the
-- transaction. The parameter: a JSON array of [created_at, row_key].
INSERT OR ROLLBACK INTO imported_rows (created_at, row_key)
SELECT value ->> 0, value ->> 1
FROM jsonb_each(?);
