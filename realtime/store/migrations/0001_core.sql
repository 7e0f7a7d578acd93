-- Users, sessions, signing keys, rooms, members and the ordered log of events.
--
-- Run by the owner role. The application role gets what it needs and no more (end of file).

CREATE TABLE users (
    id            uuid        PRIMARY KEY,
    username      text        NOT NULL,
    username_key  text        NOT NULL CONSTRAINT users_username_key UNIQUE,   -- lower case: unique without regard to it
    display_name  text        NOT NULL,
    password_hash text        NOT NULL,                                        -- PHC string, argon2id
    created_at    timestamptz NOT NULL DEFAULT now(),
    disabled_at   timestamptz
);
CREATE INDEX users_username_prefix ON users (username_key text_pattern_ops);

-- One row a sign-in. Refresh tokens are random and stored as SHA-256 only.
CREATE TABLE sessions (
    id             uuid        PRIMARY KEY,
    user_id        uuid        NOT NULL REFERENCES users,
    refresh_hash   bytea       NOT NULL CONSTRAINT sessions_refresh_hash UNIQUE,
    previous_hash  bytea       CONSTRAINT sessions_previous_hash UNIQUE,
    created_at     timestamptz NOT NULL DEFAULT now(),
    refreshed_at   timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz NOT NULL,
    revoked_at     timestamptz,
    revoked_reason text
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_revoked ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;

CREATE TABLE signing_keys (
    kid         text        PRIMARY KEY,
    secret      bytea       NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    active_from timestamptz NOT NULL DEFAULT now(),
    retires_at  timestamptz
);

CREATE TABLE rooms (
    id            uuid        PRIMARY KEY,
    kind          text        NOT NULL CHECK (kind IN ('public', 'private', 'direct')),
    name          text,
    direct_key    text        CONSTRAINT rooms_direct_key UNIQUE,              -- both user ids, sorted: one room a pair
    head_seq      bigint      NOT NULL DEFAULT 0 CHECK (head_seq >= 0),
    member_count  integer     NOT NULL DEFAULT 0,
    created_at    timestamptz NOT NULL DEFAULT now(),
    last_event_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((kind = 'direct') = (direct_key IS NOT NULL))
) WITH (fillfactor = 70);                                                      -- head_seq moves with every batch: keep it HOT
CREATE INDEX rooms_public ON rooms (id) WHERE kind = 'public';

CREATE TABLE members (
    room      uuid        NOT NULL REFERENCES rooms,
    user_id   uuid        NOT NULL REFERENCES users,
    role      text        NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    joined_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (room, user_id)
);
CREATE INDEX members_user ON members (user_id, room);

-- The dense log. Every key begins with the room, so that the table can be partitioned by hash of the room unchanged.
-- A created message is kept as it is now: an edit replaces its body, a deletion erases it here and in its edits.
CREATE TABLE events (
    room       uuid        NOT NULL,
    seq        bigint      NOT NULL CHECK (seq > 0),
    kind       text        NOT NULL,
    actor      uuid        NOT NULL,
    at         timestamptz NOT NULL,
    client_id  text,
    target     bigint,
    user_id    uuid,
    role       text,
    body       text,
    edited_at  timestamptz,
    deleted_at timestamptz,
    PRIMARY KEY (room, seq),
    CONSTRAINT events_client_id UNIQUE (room, actor, client_id)
);
CREATE INDEX events_messages ON events (room, seq) WHERE kind = 'message.created';
CREATE INDEX events_target ON events (room, target) WHERE target IS NOT NULL;

-- Append a batch of messages, edits and deletions in one round trip and one transaction.
--
-- The rooms' rows are locked first, in the order of their ids (two nodes cannot deadlock); only then does the second
-- statement take its snapshot, so that it sees every retry and removal that committed while this one waited.
-- The caller sends no `client_id` twice and no target twice in one batch. Outcomes: accepted, duplicate,
-- client_id_conflict, room_not_found, not_a_member, message_not_found, forbidden.
CREATE FUNCTION append_events(
    p_rooms uuid[], p_actors uuid[], p_kinds text[], p_client_ids text[], p_targets bigint[], p_bodies text[]
) RETURNS TABLE (ord bigint, outcome text, seq bigint, at timestamptz)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_at timestamptz;
BEGIN
    PERFORM 1 FROM rooms r WHERE r.id = ANY (p_rooms) ORDER BY r.id FOR NO KEY UPDATE;
    v_at := date_trunc('milliseconds', clock_timestamp());
    RETURN QUERY
    WITH item AS (
        SELECT *
        FROM unnest(p_rooms, p_actors, p_kinds, p_client_ids, p_targets, p_bodies)
             WITH ORDINALITY AS i (room, actor, kind, client_id, target, body, ord)
    ), judged AS (
        SELECT i.*, r.head_seq, e.seq AS first_seq, e.at AS first_at,
               CASE
                   WHEN e.seq IS NOT NULL AND e.kind = i.kind THEN 'duplicate'
                   WHEN e.seq IS NOT NULL THEN 'client_id_conflict'
                   WHEN m.role IS NULL AND r.kind = 'public' THEN 'not_a_member'
                   WHEN m.role IS NULL THEN 'room_not_found'
                   WHEN i.kind = 'message.created' THEN 'accepted'
                   WHEN t.seq IS NULL OR t.deleted_at IS NOT NULL THEN 'message_not_found'
                   WHEN t.actor <> i.actor AND m.role = 'member' THEN 'forbidden'
                   ELSE 'accepted'
               END AS outcome
        FROM item i
        LEFT JOIN rooms r ON r.id = i.room
        LEFT JOIN members m ON m.room = i.room AND m.user_id = i.actor
        LEFT JOIN events e ON e.room = i.room AND e.actor = i.actor AND e.client_id = i.client_id
        LEFT JOIN events t ON t.room = i.room AND t.seq = i.target AND t.kind = 'message.created'
    ), numbered AS (
        SELECT j.*, j.head_seq + row_number() OVER (PARTITION BY j.room ORDER BY j.ord) AS new_seq
        FROM judged j
        WHERE j.outcome = 'accepted'
    ), inserted AS (
        INSERT INTO events (room, seq, kind, actor, at, client_id, target, body)
        SELECT n.room, n.new_seq, n.kind, n.actor, v_at, n.client_id, n.target, n.body
        FROM numbered n
    ), edited AS (
        UPDATE events e SET body = n.body, edited_at = v_at
        FROM numbered n
        WHERE n.kind = 'message.edited' AND e.room = n.room AND e.seq = n.target
    ), erased AS (
        UPDATE events e SET body = '', deleted_at = v_at
        FROM numbered n
        WHERE n.kind = 'message.deleted' AND e.room = n.room AND e.seq = n.target
    ), erased_edits AS (
        UPDATE events e SET body = ''
        FROM numbered n
        WHERE n.kind = 'message.deleted' AND e.room = n.room AND e.target = n.target AND e.kind = 'message.edited'
    ), advanced AS (
        UPDATE rooms r SET head_seq = a.new_head, last_event_at = v_at
        FROM (SELECT n.room, max(n.new_seq) AS new_head FROM numbered n GROUP BY n.room) a
        WHERE r.id = a.room
    )
    SELECT j.ord, j.outcome, coalesce(n.new_seq, j.first_seq), CASE WHEN n.new_seq IS NULL THEN j.first_at ELSE v_at END
    FROM judged j
    LEFT JOIN numbered n ON n.ord = j.ord
    ORDER BY j.ord;
END
$$;

REVOKE ALL ON FUNCTION append_events FROM PUBLIC;
DO $$
BEGIN
    -- The application role may neither delete from nor truncate the log, nor change the schema.
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'realtime_app') THEN
        GRANT USAGE ON SCHEMA public TO realtime_app;
        GRANT SELECT, INSERT, UPDATE ON users, sessions, signing_keys, rooms, events TO realtime_app;
        GRANT SELECT, INSERT, UPDATE, DELETE ON members TO realtime_app;
        GRANT EXECUTE ON FUNCTION append_events TO realtime_app;
        GRANT SELECT ON schema_migrations TO realtime_app;  -- every node looks at its start
    END IF;
END
$$;
