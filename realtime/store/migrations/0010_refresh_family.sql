-- What it takes to know a refresh token that was valid once, and to give two refreshes at the same moment one answer.
--
-- Nodes of the version before leave both as they are: a session without a family gets one at its next refresh, and a successor
-- that does not fit the current token is not used.

ALTER TABLE sessions
    ADD COLUMN family    bytea,                                                -- key of the tags in the session's refresh tokens
    ADD COLUMN successor bytea;                                                -- the current token, for who shows the one before

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'realtime_app') THEN
        GRANT INSERT (family), UPDATE (family, successor) ON sessions TO realtime_app;
    END IF;
END
$$;
