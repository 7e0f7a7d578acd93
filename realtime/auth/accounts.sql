-- Changes to an account that belong together: its row is locked first, then its sessions.

-- name: lock
-- The account and all who administrate, in the order of their ids: of two who demote each other at once, one waits.
SELECT id, is_admin AND disabled_at IS NULL AS administrates
FROM users
WHERE id = $1 OR is_admin
ORDER BY id
FOR NO KEY UPDATE

-- name: set_admin
UPDATE users SET is_admin = $2 WHERE id = $1

-- name: disable
UPDATE users SET disabled_at = now() WHERE id = $1 AND disabled_at IS NULL

-- name: enable
UPDATE users SET disabled_at = NULL WHERE id = $1

-- name: set_password
-- $3: the version that was verified, or NULL for whichever there is. $4: seconds for which it works, once; NULL: for good.
UPDATE users
SET password_hash = $2, password_version = password_version + 1, one_time_until = now() + make_interval(secs => $4::double precision)
WHERE id = $1 AND disabled_at IS NULL AND password_version = coalesce($3, password_version)
RETURNING password_version

-- name: end_sessions
-- All of an account's sessions but $2.
UPDATE sessions SET revoked_at = now(), revoked_reason = $3
WHERE user_id = $1 AND revoked_at IS NULL AND id IS DISTINCT FROM $2::uuid
RETURNING id

-- name: rekey
-- Give the session that stays a new refresh token of a new family; none that it had before works, or ends it.
UPDATE sessions
SET refresh_hash = $3, family = $4, previous_hash = NULL, successor = NULL, refreshed_at = now(),
    expires_at = now() + make_interval(secs => $5::double precision)
WHERE id = $2 AND user_id = $1 AND revoked_at IS NULL AND expires_at > now()
RETURNING id
