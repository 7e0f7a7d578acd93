-- Server administrators, bans, one-time passwords, and what people see of their sessions.
--
-- All of it is added: nodes of the version before go on working while this is applied.

ALTER TABLE users
    ADD COLUMN is_admin         boolean NOT NULL DEFAULT false,
    ADD COLUMN password_version integer NOT NULL DEFAULT 1,                     -- counts changes of the password, not of its hash
    ADD COLUMN one_time_until   timestamptz;                                   -- the password works once, and only until then
CREATE INDEX users_admins ON users (id) WHERE is_admin;

ALTER TABLE sessions ADD COLUMN agent text NOT NULL DEFAULT '';                -- the User-Agent that signed in
CREATE INDEX sessions_open ON sessions (user_id, refreshed_at) WHERE revoked_at IS NULL;

-- Who may not become a member of a room again. Written under the room's row lock, as members are.
CREATE TABLE bans (
    room    uuid        NOT NULL REFERENCES rooms,
    user_id uuid        NOT NULL REFERENCES users,
    actor   uuid        NOT NULL,
    at      timestamptz NOT NULL,
    PRIMARY KEY (room, user_id)
);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'realtime_app') THEN
        GRANT SELECT, INSERT, DELETE ON bans TO realtime_app;
    END IF;
END
$$;
