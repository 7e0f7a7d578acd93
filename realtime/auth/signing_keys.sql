-- Keys of access tokens. A new key is published before it signs, so that every node knows it when the first token comes.

-- name: lock
SELECT pg_advisory_xact_lock(hashtextextended('realtime signing keys', 0))

-- name: usable
SELECT kid, secret, active_from <= now() AS active, extract(epoch FROM now() - active_from)::double precision AS age_s
FROM signing_keys
WHERE retires_at IS NULL OR retires_at > now()
ORDER BY active_from, kid

-- name: insert
INSERT INTO signing_keys (kid, secret, active_from) VALUES ($1, $2, now() + make_interval(secs => $3::double precision))

-- name: retire
-- All but the newest go, once the last token that they may have signed has expired.
UPDATE signing_keys SET retires_at = now() + make_interval(secs => $2::double precision)
WHERE kid <> $1 AND retires_at IS NULL
