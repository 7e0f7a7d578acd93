-- Accounts.

-- name: insert
INSERT INTO users (id, username, username_key, display_name, password_hash) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (username_key) DO NOTHING
RETURNING id

-- name: credentials
SELECT id, username, display_name, password_hash FROM users WHERE username_key = $1 AND disabled_at IS NULL

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
ORDER BY username_key
LIMIT $2
