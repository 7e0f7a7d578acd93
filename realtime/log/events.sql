-- The ordered log.

-- name: append
SELECT at, seqs, refusals, first_ats FROM append_entries($1::jsonb)

-- name: unnumbered
-- Of the next $2 rooms by id those in which messages wait for their n, and the last room that was looked at.
SELECT array_agg(p.id ORDER BY p.id) FILTER (WHERE p.numbered_seq < p.head_seq) AS rooms,
       (array_agg(p.id ORDER BY p.id DESC))[1] AS last
FROM (SELECT id, numbered_seq, head_seq FROM rooms WHERE id > $1 ORDER BY id LIMIT $2) p

-- name: number
-- Number the messages among the next $2 events of a room.
SELECT number_messages($1, $2) AS is_left

-- name: without_rule
-- Which of these kinds of events the database has no rule for.
SELECT kind FROM unnest($1::text[]) AS kind
WHERE to_regprocedure(format('%I(log_entry[])', 'judge_' || translate(kind, '.', '_'))) IS NULL

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

-- name: erase_later
-- The message whose turn it is goes to the end.
UPDATE erasures e SET at = clock_timestamp()
FROM (SELECT room, target FROM erasures ORDER BY at LIMIT 1 FOR UPDATE SKIP LOCKED) job
WHERE e.room = job.room AND e.target = job.target

-- name: pages
-- What follows positions: of each range (since, until] its first events, up to $4 bytes of one range and $5 of all; one event
-- is always read. Numbers are dense, so a range is a number of rows too. The length of a text is known without reading it.
-- An edit of a deleted message shows no text, whether it was erased already or not.
SELECT p.ord, p.size, p.room, p.seq, p.kind, p.actor, p.at, p.client_id, p.target, p.user_id, p.role, p.edited_at,
       p.deleted_at, p.thread, p.data,
       CASE
           WHEN p.kind = 'message.edited'
                AND EXISTS (SELECT FROM events t WHERE t.room = p.room AND t.seq = p.target AND t.deleted_at IS NOT NULL)
           THEN '' ELSE p.body
       END AS body
FROM (
    SELECT w.ord, e.*, sum(e.size) OVER (PARTITION BY w.ord ORDER BY e.seq) AS in_range, sum(e.size) OVER (ORDER BY w.ord, e.seq) AS in_all
    FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS w (room, since, until, ord)
    CROSS JOIN LATERAL (
        SELECT events.*, 256 + octet_length(coalesce(events.body, '')) + coalesce(octet_length(events.data::text), 0) AS size
        FROM events
        WHERE events.room = w.room AND events.seq > w.since AND events.seq <= w.until
        ORDER BY events.seq
        LIMIT w.until - w.since
    ) e
) p
WHERE p.in_range - p.size < $4 AND p.in_all - p.size < $5
ORDER BY p.ord, p.seq

-- name: missing
-- What many rooms have beyond positions, in one query: nothing for those that are level. At most $3 events of each room;
-- rooms are taken in their order until $4 events or $5 bytes are reached. Numbers are dense, so what is missing is known before
-- it is read.
WITH behind AS (
    SELECT w.ord, w.room, w.position, least(r.head_seq - w.position, $3) AS count
    FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS w (room, position, ord)
    JOIN rooms r ON r.id = w.room
    WHERE r.head_seq > w.position
), counted AS (
    SELECT b.*, sum(b.count) OVER (ORDER BY b.ord) - b.count AS before FROM behind b
)
SELECT p.ord, p.size, p.room, p.seq, p.kind, p.actor, p.at, p.client_id, p.target, p.user_id, p.role, p.edited_at,
       p.deleted_at, p.thread, p.data,
       CASE
           WHEN p.kind = 'message.edited'
                AND EXISTS (SELECT FROM events t WHERE t.room = p.room AND t.seq = p.target AND t.deleted_at IS NOT NULL)
           THEN '' ELSE p.body
       END AS body
FROM (
    SELECT c.ord, e.*, sum(e.size) OVER (ORDER BY c.ord, e.seq) AS in_all
    FROM counted c
    CROSS JOIN LATERAL (
        SELECT events.*, 256 + octet_length(coalesce(events.body, '')) + coalesce(octet_length(events.data::text), 0) AS size
        FROM events
        WHERE events.room = c.room AND events.seq > c.position
        ORDER BY events.seq
        LIMIT c.count
    ) e
    WHERE c.before < $4
) p
WHERE p.in_all - p.size < $5
ORDER BY p.ord, p.seq

-- name: messages_before
-- Up to $4 bytes of them; one is always read.
SELECT p.size, p.room, p.seq, p.kind, p.actor, p.at, p.client_id, p.target, p.user_id, p.role, p.body, p.edited_at,
       p.deleted_at, p.thread, p.data
FROM (
    SELECT m.*, sum(m.size) OVER (ORDER BY m.seq DESC) AS in_all
    FROM (
        SELECT events.*, 256 + octet_length(coalesce(events.body, '')) + coalesce(octet_length(events.data::text), 0) AS size
        FROM events
        WHERE room = $1 AND kind = 'message.created' AND seq < $2
        ORDER BY seq DESC
        LIMIT $3
    ) m
) p
WHERE p.in_all - p.size < $4
ORDER BY p.seq DESC

-- name: messages_after
-- Up to $4 bytes of them; one is always read.
SELECT p.size, p.room, p.seq, p.kind, p.actor, p.at, p.client_id, p.target, p.user_id, p.role, p.body, p.edited_at,
       p.deleted_at, p.thread, p.data
FROM (
    SELECT m.*, sum(m.size) OVER (ORDER BY m.seq) AS in_all
    FROM (
        SELECT events.*, 256 + octet_length(coalesce(events.body, '')) + coalesce(octet_length(events.data::text), 0) AS size
        FROM events
        WHERE room = $1 AND kind = 'message.created' AND seq > $2
        ORDER BY seq
        LIMIT $3
    ) m
) p
WHERE p.in_all - p.size < $4
ORDER BY p.seq
