-- What people choose to show of themselves, and when they were last seen.
--
-- All of it is added: nodes of the version before go on working while this is applied.

CREATE TABLE presence (
    user_id         uuid        PRIMARY KEY REFERENCES users,
    status          text        NOT NULL DEFAULT 'online' CHECK (status IN ('online', 'away', 'dnd', 'invisible')),
    text            text        NOT NULL DEFAULT '' CHECK (char_length(text) <= 140),
    text_expires_at timestamptz,
    invisible_since timestamptz,                            -- nobody was seen after this moment
    last_seen_at    timestamptz,
    changed_at      timestamptz NOT NULL DEFAULT 'epoch'    -- of what was chosen
) WITH (fillfactor = 80);                                   -- last_seen_at is in no index: its changes stay on their page
CREATE INDEX presence_changed ON presence (changed_at);
CREATE INDEX presence_invisible ON presence (user_id) WHERE status = 'invisible';

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'realtime_app') THEN
        GRANT SELECT, INSERT, UPDATE ON presence TO realtime_app;
    END IF;
END
$$;
