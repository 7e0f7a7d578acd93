-- The ordered log.

-- name: append
SELECT at, seqs, outcomes, first_ats FROM append_batch($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::text[])

-- name: since
-- What follows a position, for many rooms at once; at most $3 events of each.
SELECT w.ord, e.room, e.seq, e.kind, e.actor, e.at, e.client_id, e.target, e.user_id, e.role, e.body, e.edited_at, e.deleted_at
FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS w (room, since, ord)
CROSS JOIN LATERAL (
    SELECT * FROM events WHERE events.room = w.room AND events.seq > w.since ORDER BY events.seq LIMIT $3
) e
ORDER BY w.ord, e.seq

-- name: missing
-- What many rooms have beyond positions, in one query: nothing for those that are level. At most $3 events of each room;
-- rooms are taken in their order until $4 events are reached. Numbers are dense, so what is missing is known before it is read.
WITH behind AS (
    SELECT w.ord, w.room, w.position, least(r.head_seq - w.position, $3) AS count
    FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS w (room, position, ord)
    JOIN rooms r ON r.id = w.room
    WHERE r.head_seq > w.position
), counted AS (
    SELECT b.*, sum(b.count) OVER (ORDER BY b.ord) - b.count AS before FROM behind b
)
SELECT c.ord, e.room, e.seq, e.kind, e.actor, e.at, e.client_id, e.target, e.user_id, e.role, e.body, e.edited_at, e.deleted_at
FROM counted c
CROSS JOIN LATERAL (
    SELECT * FROM events WHERE events.room = c.room AND events.seq > c.position ORDER BY events.seq LIMIT c.count
) e
WHERE c.before < $4
ORDER BY c.ord, e.seq

-- name: messages_before
SELECT room, seq, kind, actor, at, client_id, target, user_id, role, body, edited_at, deleted_at
FROM events
WHERE room = $1 AND kind = 'message.created' AND seq < $2
ORDER BY seq DESC
LIMIT $3

-- name: messages_after
SELECT room, seq, kind, actor, at, client_id, target, user_id, role, body, edited_at, deleted_at
FROM events
WHERE room = $1 AND kind = 'message.created' AND seq > $2
ORDER BY seq
LIMIT $3
