-- Consumers of the log: what they have worked through, and which node works.

-- name: add
-- The shards of a consumer; those that are new begin with what commits from now on. It looks first, since ON CONFLICT waits for
-- whoever works in a shard that is there.
INSERT INTO consumers (name, shard)
SELECT $1, n FROM generate_series(0, $2::integer - 1) n
WHERE NOT EXISTS (SELECT FROM consumers c WHERE c.name = $1 AND c.shard = n)
ON CONFLICT DO NOTHING

-- name: take
-- Hold a shard that no other node holds. No row: another one does, or works in it at this moment.
UPDATE consumers c SET holder = $3, held_until = clock_timestamp() + make_interval(secs => $4)
FROM (
    SELECT name, shard FROM consumers
    WHERE name = $1 AND shard = $2 AND (holder IS NULL OR holder = $3 OR held_until < clock_timestamp())
    FOR UPDATE SKIP LOCKED
) free
WHERE c.name = free.name AND c.shard = free.shard
RETURNING c.shard

-- name: release
UPDATE consumers SET holder = NULL, held_until = '-infinity' WHERE holder = $1

-- name: look
-- The first $5 events after the position of a shard that node $3 holds, as far as no transaction that is still open could commit
-- one before them. No row: another node holds it. The index has the order of transactions alone, so the last one of so many
-- events is looked up first, and what there is up to it is sorted: else everything that is left would be.
SELECT c.position, c.room, c.seq, coalesce(w.count, 0) AS count, greatest(h.xmin, c.position) AS horizon,
       w.xid AS last_xid, w.room AS last_room, w.seq AS last_seq
FROM consumers c
CROSS JOIN (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS xmin) h
CROSS JOIN LATERAL (
    SELECT (
        SELECT e.xid FROM events e
        WHERE e.xid >= c.position AND e.xid < h.xmin AND (e.xid > c.position OR (e.room, e.seq) > (c.room, c.seq))
          AND ($4::integer = 1 OR (uuid_hash(e.room) & 2147483647) % $4 = c.shard)
        ORDER BY e.xid
        OFFSET $5::bigint - 1
        LIMIT 1
    ) AS xid
) b
LEFT JOIN LATERAL (
    SELECT count(*) OVER () AS count, f.xid, f.room, f.seq
    FROM (
        SELECT e.xid, e.room, e.seq FROM events e
        WHERE e.xid >= c.position AND e.xid < h.xmin AND e.xid <= coalesce(b.xid, h.xmin)
          AND (e.xid > c.position OR (e.room, e.seq) > (c.room, c.seq))
          AND ($4 = 1 OR (uuid_hash(e.room) & 2147483647) % $4 = c.shard)
        ORDER BY e.xid, e.room, e.seq
        LIMIT $5
    ) f
    ORDER BY f.xid DESC, f.room DESC, f.seq DESC
    LIMIT 1
) w ON true
WHERE c.name = $1 AND c.shard = $2 AND c.holder = $3

-- name: advance
-- Move a shard that node $3 holds from where it is ($4 to $6), and hold it longer. No row: another node holds it, or has moved it.
UPDATE consumers SET position = $7, room = $8, seq = $9, held_until = clock_timestamp() + make_interval(secs => $10)
WHERE name = $1 AND shard = $2 AND holder = $3 AND position = $4 AND room = $5 AND seq = $6
RETURNING shard

-- name: events
-- The events of a span: after ($1, $2, $3) and up to ($4, $5, $6), of shard $8 of $7, by rooms. An edit of a deleted message shows
-- no text, whether it was erased already or not.
SELECT e.room, e.seq, e.kind, e.actor, e.at, e.client_id, e.target, e.user_id, e.role, e.edited_at, e.deleted_at, e.thread, e.data,
       CASE
           WHEN e.kind = 'message.edited'
                AND EXISTS (SELECT FROM events t WHERE t.room = e.room AND t.seq = e.target AND t.deleted_at IS NOT NULL)
           THEN '' ELSE e.body
       END AS body
FROM events e
WHERE e.xid >= $1 AND e.xid <= $4 AND (e.xid, e.room, e.seq) > ($1, $2::uuid, $3::bigint)
  AND (e.xid, e.room, e.seq) <= ($4, $5::uuid, $6::bigint)
  AND ($7::integer = 1 OR (uuid_hash(e.room) & 2147483647) % $7 = $8::integer)
ORDER BY e.room, e.seq

-- name: lag
-- Events that a shard has not worked through, at most $4, and the age of the first one in seconds. Those that an open transaction
-- holds back count too.
SELECT count(*) AS events, coalesce(extract(epoch FROM clock_timestamp() - min(b.at)), 0)::float8 AS age_s
FROM consumers c
CROSS JOIN LATERAL (
    SELECT e.at
    FROM events e
    WHERE e.xid >= c.position AND (e.xid > c.position OR (e.room, e.seq) > (c.room, c.seq))
      AND ($3::integer = 1 OR (uuid_hash(e.room) & 2147483647) % $3 = c.shard)
    ORDER BY e.xid
    LIMIT $4
) b
WHERE c.name = $1 AND c.shard = $2
