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
