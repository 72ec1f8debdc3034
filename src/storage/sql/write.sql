INSERT INTO arrivals (reports, job, position) VALUES (?, ?, ?)
