-- The newest ?4 lists, of the blocks from ?2 to ?3, of each profile in the JSON array ?1: as a bundle of profile, block
-- and packed numbers. The lists of a profile lie side by side.
SELECT
    CAST(string_agg(
        (
            SELECT string_agg(concat(profile, ' ', block, ' ', octet_length(reports), ':', reports), '')
            FROM (
                SELECT profile, block, reports FROM report_lists
                WHERE profile = CAST(wanted.value AS INTEGER) AND block BETWEEN ?2 AND ?3
                ORDER BY block DESC LIMIT ?4
            )
        ),
        ''
    ) AS BLOB) AS "bundle: Vec<u8>"
FROM json_each(?1) AS wanted
