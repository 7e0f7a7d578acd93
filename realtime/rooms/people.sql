-- Whom users block, and who may add them to rooms.

-- name: block
INSERT INTO blocks (user_id, blocked) VALUES ($1, $2) ON CONFLICT DO NOTHING

-- name: unblock
DELETE FROM blocks WHERE user_id = $1 AND blocked = $2 RETURNING blocked

-- name: has_blocks
-- Whether a user blocks that many.
SELECT EXISTS (SELECT FROM blocks WHERE user_id = $1 OFFSET $2::bigint - 1 LIMIT 1) AS so_many

-- name: list_blocks
SELECT u.id, u.username, u.display_name, b.at
FROM blocks b
JOIN users u ON u.id = b.blocked
WHERE b.user_id = $1 AND b.blocked > $2
ORDER BY b.blocked
LIMIT $3

-- name: get_block
SELECT u.id, u.username, u.display_name, b.at
FROM blocks b
JOIN users u ON u.id = b.blocked
WHERE b.user_id = $1 AND b.blocked = $2

-- name: exists
SELECT EXISTS (SELECT FROM users WHERE id = $1) AS found

-- name: may_add
SELECT may_add FROM users WHERE id = $1

-- name: set_may_add
UPDATE users SET may_add = $2 WHERE id = $1

-- name: pair
-- Held to the end of the transaction by whoever makes the direct room of two, or blocks one of them: the one sees the other.
SELECT pg_advisory_xact_lock(hashtextextended($1, 0))
