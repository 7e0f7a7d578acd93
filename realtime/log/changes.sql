-- What is new for a user since a snapshot.

-- name: now
SELECT pg_current_snapshot()::text AS snapshot, (SELECT id FROM epoch) AS epoch

-- name: since
-- What was not visible to the snapshot $2 and is now, with the snapshot of this very statement, in a row without a room. The head
-- of a room tells whether there is an event; a backward scan ends at the first event that was visible, or after $3. On a standby,
-- and with a snapshot from the future, nothing is read.
WITH look AS (
    SELECT $2::text::pg_snapshot AS seen, pg_current_snapshot() AS now,
           NOT pg_is_in_recovery() AND pg_snapshot_xmax($2::text::pg_snapshot) <= pg_snapshot_xmax(pg_current_snapshot()) AS is_readable
), mine AS (
    SELECT m.room, r.head_seq, NOT pg_visible_in_snapshot(m.xid, l.seen) AS is_changed, e.xid AS head_xid
    FROM look l
    JOIN members m ON m.user_id = $1 AND l.is_readable
    JOIN rooms r ON r.id = m.room
    LEFT JOIN LATERAL (SELECT events.xid FROM events WHERE events.room = r.id AND events.seq = r.head_seq LIMIT 1) e ON true
)
SELECT NULL::uuid AS room, 0::bigint AS since_seq, 0::bigint AS head_seq, false AS is_cut, false AS is_changed, false AS is_gone,
       l.now::text AS snapshot, (SELECT id FROM epoch) AS epoch, l.is_readable, pg_is_in_recovery() AS is_standby,
       NOT pg_visible_in_snapshot(u.xid, l.seen) AS account, NOT pg_visible_in_snapshot(p.xid, l.seen) AS presence
FROM look l
LEFT JOIN users u ON u.id = $1
LEFT JOIN presence p ON p.user_id = $1
UNION ALL
SELECT i.room, coalesce(s.seq, greatest(i.head_seq - $3, 0)), i.head_seq, s.seq IS NULL AND i.head_seq > $3, i.is_changed, false,
       NULL, NULL, NULL, NULL, NULL, NULL
FROM look l
CROSS JOIN mine i
LEFT JOIN LATERAL (
    SELECT b.seq
    FROM (
        SELECT events.seq, events.xid FROM events
        WHERE events.room = i.room AND events.seq <= i.head_seq
        ORDER BY events.seq DESC
        LIMIT $3
    ) b
    WHERE pg_visible_in_snapshot(b.xid, l.seen)
    LIMIT 1
) s ON true
WHERE i.is_changed OR NOT pg_visible_in_snapshot(i.head_xid, l.seen)
UNION ALL
SELECT d.room, 0, 0, false, false, true, NULL, NULL, NULL, NULL, NULL, NULL
FROM look l
JOIN departures d ON d.user_id = $1 AND l.is_readable AND NOT pg_visible_in_snapshot(d.xid, l.seen)
WHERE NOT EXISTS (SELECT FROM members m WHERE m.user_id = $1 AND m.room = d.room)
