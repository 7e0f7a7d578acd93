-- Rooms and their members.

-- name: insert_room
INSERT INTO rooms (id, kind, name, direct_key, member_count) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (direct_key) DO NOTHING
RETURNING id

-- name: insert_members
INSERT INTO members (room, user_id, role)
SELECT $1::uuid, m.user_id, m.role FROM unnest($2::uuid[], $3::text[]) AS m (user_id, role)

-- name: find_direct
SELECT id FROM rooms WHERE direct_key = $1

-- name: known_users
SELECT count(*) AS known FROM users WHERE id = ANY ($1::uuid[]) AND disabled_at IS NULL

-- name: full
-- One of these users who is a member of $2 rooms or more, or owns $3; no row: there is none.
SELECT w.id
FROM unnest($1::uuid[]) AS w (id)
WHERE EXISTS (SELECT FROM members m WHERE m.user_id = w.id OFFSET $2::bigint - 1 LIMIT 1)
   OR EXISTS (SELECT FROM members m WHERE m.user_id = w.id AND m.role = 'owner' OFFSET $3::bigint - 1 LIMIT 1)
LIMIT 1

-- name: willing
-- What these users want of the one who would add them.
SELECT u.id, u.may_add,
       EXISTS (SELECT FROM blocks b WHERE b.user_id = u.id AND b.blocked = $1) AS blocks,
       u.may_add = 'shared_rooms' AND EXISTS (
           SELECT FROM members mine
           JOIN members theirs ON theirs.room = mine.room AND theirs.user_id = u.id
           WHERE mine.user_id = $1
       ) AS shares
FROM unnest($2::uuid[]) AS w (id)
JOIN users u ON u.id = w.id

-- name: set_closed
UPDATE members SET is_closed = $3 WHERE room = $1 AND user_id = $2

-- name: silence
-- Who may not write in a direct room: both, when one has closed it; and who is blocked by the other. Under the room's row lock.
UPDATE members m SET is_silenced = NOT m.is_silenced
WHERE m.room = $1 AND m.is_silenced IS DISTINCT FROM (
    EXISTS (SELECT FROM members o WHERE o.room = $1 AND o.is_closed)
    OR EXISTS (
        SELECT FROM members o
        JOIN blocks b ON b.user_id = o.user_id AND b.blocked = m.user_id
        WHERE o.room = $1 AND o.user_id <> m.user_id
    )
)

-- name: get
-- One room as a user sees it.
SELECT r.id, r.kind, r.name, r.head_seq, r.last_event_at, r.created_at, r.member_count, m.role,
       p.id AS peer_id, p.username AS peer_username, p.display_name AS peer_display_name
FROM rooms r
LEFT JOIN members m ON m.room = r.id AND m.user_id = $2
LEFT JOIN members pm ON r.kind = 'direct' AND pm.room = r.id AND pm.user_id <> $2
LEFT JOIN users p ON p.id = pm.user_id
WHERE r.id = $1

-- name: list_mine
SELECT r.id, r.kind, r.name, r.head_seq, r.last_event_at, r.created_at, r.member_count, m.role,
       p.id AS peer_id, p.username AS peer_username, p.display_name AS peer_display_name
FROM members m
JOIN rooms r ON r.id = m.room
LEFT JOIN members pm ON r.kind = 'direct' AND pm.room = r.id AND pm.user_id <> $1
LEFT JOIN users p ON p.id = pm.user_id
WHERE m.user_id = $1 AND m.room > $2
ORDER BY m.room
LIMIT $3

-- name: list_public
SELECT r.id, r.kind, r.name, r.head_seq, r.last_event_at, r.created_at, r.member_count, m.role,
       NULL::uuid AS peer_id, NULL::text AS peer_username, NULL::text AS peer_display_name
FROM rooms r
LEFT JOIN members m ON m.room = r.id AND m.user_id = $1
WHERE r.kind = 'public' AND r.id > $2
ORDER BY r.id
LIMIT $3

-- name: lock
SELECT kind FROM rooms WHERE id = $1 FOR NO KEY UPDATE

-- name: standing
-- The two people concerned by a change of membership. A statement of its own, behind the lock: the snapshot of the one that
-- waits for the lock is older than what the one before it committed.
SELECT a.role AS actor_role, u.role AS user_role, b.user_id IS NOT NULL AS is_banned
FROM (VALUES ($1::uuid)) r (room)
LEFT JOIN members a ON a.room = r.room AND a.user_id = $2
LEFT JOIN members u ON u.room = r.room AND u.user_id = $3
LEFT JOIN bans b ON b.room = r.room AND b.user_id = $3

-- name: count_owners
SELECT count(*) AS owners FROM (SELECT 1 FROM members WHERE room = $1 AND role = 'owner' LIMIT 2) o

-- name: is_owned
-- Whether there is an owner, or a member whose role this release does not know.
SELECT EXISTS (SELECT FROM members WHERE room = $1 AND role = 'owner')
    OR EXISTS (SELECT FROM members WHERE room = $1 AND role NOT IN ('owner', 'admin', 'member')) AS is_owned

-- name: has_others
SELECT EXISTS (SELECT 1 FROM members WHERE room = $1 AND user_id <> $2) AS others

-- name: find_user
SELECT id, username, display_name FROM users WHERE id = $1 AND disabled_at IS NULL

-- name: any_user
SELECT id, username, display_name FROM users WHERE id = $1

-- name: put_ban
INSERT INTO bans (room, user_id, actor, at) VALUES ($1, $2, $3, $4)

-- name: delete_ban
DELETE FROM bans WHERE room = $1 AND user_id = $2

-- name: list_bans
SELECT u.id, u.username, u.display_name, b.actor, b.at
FROM bans b
JOIN users u ON u.id = b.user_id
WHERE b.room = $1 AND b.user_id > $2
ORDER BY b.user_id
LIMIT $3

-- name: get_ban
SELECT u.id, u.username, u.display_name, b.actor, b.at
FROM bans b
JOIN users u ON u.id = b.user_id
WHERE b.room = $1 AND b.user_id = $2

-- name: put_member
INSERT INTO members (room, user_id, role) VALUES ($1, $2, $3)
ON CONFLICT (room, user_id) DO UPDATE SET role = EXCLUDED.role
RETURNING joined_at

-- name: delete_member
DELETE FROM members WHERE room = $1 AND user_id = $2

-- name: append_membership
-- Number and insert one membership event; the caller holds the room's row lock.
WITH advanced AS (
    UPDATE rooms
    SET head_seq = head_seq + 1, numbered_seq = numbered_seq + (numbered_seq = head_seq)::integer,
        member_count = member_count + $6::integer, last_event_at = date_trunc('milliseconds', clock_timestamp())
    WHERE id = $1
    RETURNING head_seq, last_event_at
)
INSERT INTO events (room, seq, kind, actor, at, user_id, role)
SELECT $1::uuid, head_seq, $2::text, $3::uuid, last_event_at, $4::uuid, $5::text FROM advanced
RETURNING seq, at

-- name: list_members
SELECT u.id, u.username, u.display_name, m.role, m.joined_at
FROM members m
JOIN users u ON u.id = m.user_id
WHERE m.room = $1 AND m.user_id > $2
ORDER BY m.user_id
LIMIT $3

-- name: get_member
SELECT u.id, u.username, u.display_name, m.role, m.joined_at
FROM members m
JOIN users u ON u.id = m.user_id
WHERE m.room = $1 AND m.user_id = $2

-- name: access
-- What each (room, user) pair may do, for many at once, and in which epoch.
SELECT w.ord, r.kind, r.head_seq, r.restored_seq, m.role, (SELECT id FROM epoch) AS epoch
FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS w (room, user_id, ord)
JOIN rooms r ON r.id = w.room
LEFT JOIN members m ON m.room = w.room AND m.user_id = w.user_id

-- name: heads
SELECT id, head_seq FROM rooms WHERE id = ANY ($1::uuid[])

-- name: epoch
SELECT id FROM epoch
