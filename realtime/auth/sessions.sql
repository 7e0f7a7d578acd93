-- Sign-ins and their refresh tokens.

-- name: insert
-- Begin a session, if the account is open and its password still is the one that was shown. Its row is locked, so that a
-- change which commits meanwhile counts. The account's oldest sessions end, so that $7 others stay.
WITH account AS (
    SELECT id FROM users WHERE id = $2 AND disabled_at IS NULL AND password_version = $3 FOR SHARE
), made AS (
    INSERT INTO sessions (id, user_id, refresh_hash, expires_at, agent, family)
    SELECT $1::uuid, id, $4::bytea, now() + make_interval(secs => $5::double precision), $6::text, $8::bytea FROM account
    RETURNING id
), ended AS (
    UPDATE sessions s SET revoked_at = now(), revoked_reason = 'too many'
    FROM (
        SELECT o.id
        FROM sessions o JOIN account a ON o.user_id = a.id
        WHERE o.revoked_at IS NULL
        ORDER BY o.refreshed_at DESC OFFSET $7::integer
    ) oldest
    WHERE s.id = oldest.id AND s.revoked_at IS NULL
    RETURNING s.id
)
SELECT id, true AS made FROM made UNION ALL SELECT id, false FROM ended

-- name: rotation
-- What is stored of an open session's refresh tokens, and whose it is.
SELECT s.refresh_hash, s.previous_hash, s.family, s.successor,
       extract(epoch FROM now() - s.refreshed_at)::double precision AS age_s,
       u.id, u.username, u.display_name, u.is_admin
FROM sessions s JOIN users u ON u.id = s.user_id
WHERE s.id = $1 AND s.revoked_at IS NULL AND s.expires_at > now() AND u.disabled_at IS NULL

-- name: rotate
-- Change the refresh token, if it still is the one that was seen ($2).
UPDATE sessions
SET previous_hash = $3, refresh_hash = $4, family = $5, successor = $6, refreshed_at = now(),
    expires_at = now() + make_interval(secs => $7::double precision)
WHERE id = $1 AND refresh_hash = $2 AND revoked_at IS NULL AND expires_at > now()
RETURNING id

-- name: revoke_family
-- Unless a change of the password began another family meanwhile.
UPDATE sessions SET revoked_at = now(), revoked_reason = $3
WHERE id = $1 AND family = $2 AND revoked_at IS NULL
RETURNING id

-- name: revoke
UPDATE sessions SET revoked_at = now(), revoked_reason = $2
WHERE id = $1 AND revoked_at IS NULL
RETURNING id

-- name: revoke_by_token
UPDATE sessions SET revoked_at = now(), revoked_reason = $3
WHERE id = $1 AND (refresh_hash = $2 OR previous_hash = $2) AND revoked_at IS NULL
RETURNING id

-- name: revoked_since
-- Those whose access tokens may still be alive.
SELECT id FROM sessions WHERE revoked_at IS NOT NULL AND revoked_at > now() - make_interval(secs => $1::double precision)

-- name: revoke_of
-- A session of this user's own.
UPDATE sessions SET revoked_at = now(), revoked_reason = $3
WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL
RETURNING id

-- name: open_of
SELECT id, created_at, refreshed_at, agent FROM sessions
WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > now()
ORDER BY refreshed_at DESC
LIMIT $2
