-- Sign-ins and their refresh tokens.

-- name: insert
INSERT INTO sessions (id, user_id, refresh_hash, expires_at)
VALUES ($1, $2, $3, now() + make_interval(secs => $4::double precision))

-- name: rotate
-- Change the refresh token. The one before is taken too, for as long as the one that replaced it was never used: then
-- its answer was lost on the way.
UPDATE sessions s
SET previous_hash = $2, refresh_hash = $3, refreshed_at = now(), expires_at = now() + make_interval(secs => $4::double precision)
FROM users u
WHERE s.id = $1 AND (s.refresh_hash = $2 OR s.previous_hash = $2) AND s.revoked_at IS NULL AND s.expires_at > now()
  AND u.id = s.user_id AND u.disabled_at IS NULL
RETURNING u.id, u.username, u.display_name

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
