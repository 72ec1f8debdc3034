-- Statistics by which SQLite chose its ways through the tables. They were taken when a server ended, and
-- were those of an empty database where it then ran for years: a statement of seconds took hours.
-- Without any, a statement goes the same way in every database.
DROP TABLE IF EXISTS sqlite_stat1;
