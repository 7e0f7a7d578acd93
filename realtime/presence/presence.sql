-- What people choose to show of themselves, and when they were last seen.

-- name: read
SELECT user_id, status, text, text_expires_at, last_seen_at, changed_at FROM presence WHERE user_id = ANY ($1::uuid[])

-- name: changed_since
-- What was chosen in the last $1 seconds.
SELECT user_id, status, text, text_expires_at, last_seen_at, changed_at
FROM presence
WHERE changed_at > now() - make_interval(secs => $1)
ORDER BY changed_at
LIMIT $2

-- name: choose
-- NULL for a status or a text: it stays. Versions of one user only grow, whatever the clock does.
INSERT INTO presence AS p (user_id, status, text, text_expires_at, invisible_since, changed_at)
VALUES (
    $1, coalesce($2, 'online'), coalesce($3, ''), now() + make_interval(secs => $4),
    CASE WHEN $2 = 'invisible' THEN clock_timestamp() END, clock_timestamp()
)
ON CONFLICT (user_id) DO UPDATE SET
    status = coalesce($2, p.status),
    text = coalesce($3, p.text),
    text_expires_at = CASE WHEN $3 IS NULL THEN p.text_expires_at ELSE excluded.text_expires_at END,
    invisible_since = CASE WHEN coalesce($2, p.status) = 'invisible' THEN coalesce(p.invisible_since, clock_timestamp()) END,
    changed_at = greatest(excluded.changed_at, p.changed_at + interval '1 ms')
RETURNING user_id, status, text, text_expires_at, last_seen_at, changed_at

-- name: seen
-- Who is invisible was last seen when they became so, whoever says otherwise. Rows are locked in one order.
INSERT INTO presence AS p (user_id, last_seen_at)
SELECT u.id, i.at FROM unnest($1::uuid[], $2::timestamptz[]) AS i (id, at) JOIN users u ON u.id = i.id ORDER BY u.id
ON CONFLICT (user_id) DO UPDATE SET last_seen_at = least(greatest(p.last_seen_at, excluded.last_seen_at), p.invisible_since)

-- name: invisible
SELECT user_id FROM presence WHERE status = 'invisible' LIMIT $1

-- name: members
-- Some of the members of a room.
SELECT user_id FROM members WHERE room = $1 LIMIT $2

-- name: active
-- Who wrote something in a span of the log, after ($1, $2, $3) and up to ($4, $5, $6), was there then. A time that is known to the
-- minute stays, so that somebody who writes all day costs a row a minute. Who is invisible was last seen when they became so.
INSERT INTO presence AS p (user_id, last_seen_at)
SELECT u.id, w.at
FROM (
    SELECT e.actor, max(e.at) AS at
    FROM events e
    WHERE e.xid >= $1 AND e.xid <= $4 AND (e.xid, e.room, e.seq) > ($1, $2::uuid, $3::bigint)
      AND (e.xid, e.room, e.seq) <= ($4, $5::uuid, $6::bigint)
    GROUP BY e.actor
) w
JOIN users u ON u.id = w.actor
LEFT JOIN presence k ON k.user_id = u.id
WHERE k.last_seen_at IS NULL OR least(w.at, k.invisible_since) > k.last_seen_at + interval '1 minute'
ORDER BY u.id
ON CONFLICT (user_id) DO UPDATE SET last_seen_at = least(greatest(p.last_seen_at, excluded.last_seen_at), p.invisible_since)
