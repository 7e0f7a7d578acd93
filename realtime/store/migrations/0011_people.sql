-- Whom users block, who may add them to rooms, and direct rooms that one of the two has closed.
--
-- All of it is added. Nodes of the version before heed none of it, and change none of it.

CREATE TABLE blocks (
    user_id uuid        NOT NULL REFERENCES users,
    blocked uuid        NOT NULL REFERENCES users,
    at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, blocked)
);

ALTER TABLE users ADD COLUMN may_add text NOT NULL DEFAULT 'everybody';        -- everybody, shared_rooms, nobody

ALTER TABLE members
    ADD COLUMN is_closed   boolean NOT NULL DEFAULT false,                     -- this one of the two has closed the direct room
    ADD COLUMN is_silenced boolean NOT NULL DEFAULT false;                     -- may not write: it is closed, or the other one blocks

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'realtime_app') THEN
        GRANT SELECT, DELETE, INSERT (user_id, blocked) ON blocks TO realtime_app;
        GRANT UPDATE (may_add) ON users TO realtime_app;
        GRANT UPDATE (is_closed, is_silenced) ON members TO realtime_app;
    END IF;
END
$$;
