-- Accounts. Usernames are ordered by their code points (~<~), as the index for prefixes is, whatever the database's collation.

-- name: insert
INSERT INTO users (id, username, username_key, display_name, password_hash) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (username_key) DO NOTHING
RETURNING id

-- name: credentials
-- A disabled account and a one-time password that is over are not there.
SELECT id, username, display_name, is_admin, password_hash, password_version, one_time_until IS NOT NULL AS is_one_time
FROM users
WHERE username_key = $1 AND disabled_at IS NULL AND (one_time_until IS NULL OR one_time_until > now())

-- name: credentials_of
SELECT id, username, display_name, is_admin, password_hash, password_version, one_time_until IS NOT NULL AS is_one_time
FROM users
WHERE id = $1 AND disabled_at IS NULL AND (one_time_until IS NULL OR one_time_until > now())

-- name: is_taken
SELECT EXISTS (SELECT FROM users WHERE username_key = $1) AS taken

-- name: set_password_hash
-- Only over the hash that was verified: a password changed meanwhile stays.
UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2

-- name: find
SELECT id, username, display_name FROM users WHERE id = ANY ($1::uuid[])

-- name: search
-- By the beginning of the username; $1 has its wildcards escaped and ends in one.
SELECT id, username, display_name FROM users
WHERE username_key LIKE $1::text AND disabled_at IS NULL
ORDER BY username_key USING ~<~
LIMIT $2

-- name: is_admin
SELECT EXISTS (SELECT FROM users WHERE id = $1 AND is_admin AND disabled_at IS NULL) AS is_admin

-- name: account
SELECT u.id, u.username, u.display_name, u.is_admin, u.created_at, u.disabled_at, s.open AS sessions
FROM users u
CROSS JOIN LATERAL (
    SELECT count(*) AS open FROM sessions WHERE user_id = u.id AND revoked_at IS NULL AND expires_at > now()
) s
WHERE u.id = $1

-- name: find_id
SELECT id FROM users WHERE username_key = $1

-- name: accounts
-- Of everybody, by the beginning of the username; $1 has its wildcards escaped and ends in one.
SELECT u.id, u.username, u.display_name, u.is_admin, u.created_at, u.disabled_at, s.open AS sessions
FROM (
    SELECT * FROM users WHERE username_key LIKE $1::text AND username_key ~>~ $2::text ORDER BY username_key USING ~<~ LIMIT $3
) u
CROSS JOIN LATERAL (
    SELECT count(*) AS open FROM sessions WHERE user_id = u.id AND revoked_at IS NULL AND expires_at > now()
) s
ORDER BY u.username_key USING ~<~

-- name: admins
SELECT u.id, u.username, u.display_name, u.is_admin, u.created_at, u.disabled_at, s.open AS sessions
FROM users u
CROSS JOIN LATERAL (
    SELECT count(*) AS open FROM sessions WHERE user_id = u.id AND revoked_at IS NULL AND expires_at > now()
) s
WHERE u.is_admin
ORDER BY u.username_key USING ~<~
