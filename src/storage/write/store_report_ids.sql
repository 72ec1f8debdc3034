-- Notes the ids of the reports that are stored with them, and forgets the oldest ones past a million. An
-- id that is noted already ends the transaction. The parameter: a JSON array of keys.
INSERT OR ROLLBACK INTO report_ids (key)
SELECT value
FROM jsonb_each(?);

DELETE FROM report_ids WHERE number <= (SELECT max(number) FROM report_ids) - 1000000;
