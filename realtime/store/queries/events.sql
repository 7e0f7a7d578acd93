-- The ordered log.

-- name: append
SELECT at, seqs, outcomes, first_ats
FROM append_batch($1::uuid[], $2::integer[], $3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8)

-- name: erase
-- Erase at most $1 texts of edits of one deleted message; it is done when there were fewer. Nodes share the work.
WITH job AS (
    SELECT room, target FROM erasures ORDER BY at LIMIT 1 FOR UPDATE SKIP LOCKED
), found AS (
    SELECT e.room, e.seq
    FROM job j
    CROSS JOIN LATERAL (
        SELECT room, seq FROM events
        WHERE events.room = j.room AND events.target = j.target AND events.kind = 'message.edited' AND events.body <> ''
        LIMIT $1
    ) e
), erased AS (
    UPDATE events e SET body = '' FROM found f WHERE e.room = f.room AND e.seq = f.seq
), done AS (
    DELETE FROM erasures d USING job j WHERE d.room = j.room AND d.target = j.target AND (SELECT count(*) FROM found) < $1
)
SELECT EXISTS (SELECT FROM job) AS worked

-- name: since
-- What follows a position, for many rooms at once; at most $3 events of each. An edit of a deleted message shows no text,
-- whether it was erased already or not.
SELECT w.ord, e.room, e.seq, e.kind, e.actor, e.at, e.client_id, e.target, e.user_id, e.role, e.edited_at, e.deleted_at,
       CASE
           WHEN e.kind = 'message.edited'
                AND EXISTS (SELECT FROM events t WHERE t.room = e.room AND t.seq = e.target AND t.deleted_at IS NOT NULL)
           THEN '' ELSE e.body
       END AS body
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
SELECT c.ord, e.room, e.seq, e.kind, e.actor, e.at, e.client_id, e.target, e.user_id, e.role, e.edited_at, e.deleted_at,
       CASE
           WHEN e.kind = 'message.edited'
                AND EXISTS (SELECT FROM events t WHERE t.room = e.room AND t.seq = e.target AND t.deleted_at IS NOT NULL)
           THEN '' ELSE e.body
       END AS body
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
