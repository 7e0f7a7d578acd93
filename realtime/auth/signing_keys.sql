-- Keys of access tokens. A new key is published before it signs, so that every node knows it when the first token comes.

-- name: lock
-- Under this name since the first release: nodes of two releases wait for one another.
SELECT pg_advisory_xact_lock(hashtextextended('realtime signing keys', 0))

-- name: usable
SELECT kid, secret, wrapped, active_from <= now() AS active,
       extract(epoch FROM now() - active_from)::double precision AS age_s,
       extract(epoch FROM retires_at - now())::double precision AS retires_in_s
FROM signing_keys
WHERE retires_at IS NULL OR retires_at > now()
ORDER BY active_from, kid

-- name: insert
INSERT INTO signing_keys (kid, secret, wrapped, active_from)
VALUES ($1, $2, $3, now() + make_interval(secs => $4::double precision))

-- name: retire
-- All but the newest go, once the last token that they may have signed has expired.
UPDATE signing_keys SET retires_at = now() + make_interval(secs => $2::double precision)
WHERE kid <> $1 AND retires_at IS NULL

-- name: retire_all
UPDATE signing_keys SET retires_at = now() WHERE retires_at IS NULL OR retires_at > now()

-- name: wrap
UPDATE signing_keys SET wrapped = $2 WHERE kid = $1 AND wrapped IS NULL

-- name: forget_plain
SELECT forget_plain_signing_keys()

-- name: older_nodes
-- Connections of nodes of the version before, which read the secrets in plain alone.
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'realtime'

-- name: wrapped
-- For the rewrapping: a page of what is wrapped and counts. A key that no token is checked with any more is left as it is.
SELECT kid AS row, wrapped AS value
FROM signing_keys
WHERE wrapped IS NOT NULL AND (retires_at IS NULL OR retires_at > now()) AND kid > $1
ORDER BY kid
LIMIT $2

-- name: rewrap
UPDATE signing_keys SET wrapped = $3 WHERE kid = $1 AND wrapped = $2
