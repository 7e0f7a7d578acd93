-- The application role inserts and updates the columns that it has to, and no other: who wrote what and when, of what kind a
-- room is and whose a session is stay what they were made. What is granted is what nodes of the version before use too.
--
-- A migration that adds a column grants it: GRANT INSERT (…), UPDATE (…) ON … TO realtime_app.

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'realtime_app') THEN
        REVOKE INSERT, UPDATE ON users, sessions, signing_keys, rooms, members, events, bans, presence, erasures FROM realtime_app;
        GRANT INSERT (id, username, username_key, display_name, password_hash),
              UPDATE (password_hash, password_version, one_time_until, is_admin, disabled_at) ON users TO realtime_app;
        GRANT INSERT (id, user_id, refresh_hash, expires_at, agent),
              UPDATE (refresh_hash, previous_hash, refreshed_at, expires_at, revoked_at, revoked_reason) ON sessions TO realtime_app;
        GRANT INSERT (kid, secret, active_from), UPDATE (retires_at) ON signing_keys TO realtime_app;
        GRANT INSERT (id, kind, name, direct_key, member_count),
              UPDATE (head_seq, member_count, last_event_at) ON rooms TO realtime_app;
        GRANT INSERT (room, user_id, role), UPDATE (role) ON members TO realtime_app;
        GRANT INSERT (room, seq, kind, actor, at, client_id, target, user_id, role, body),
              UPDATE (body, edited_at, deleted_at, edits) ON events TO realtime_app;
        GRANT INSERT (room, user_id, actor, at) ON bans TO realtime_app;
        GRANT INSERT (user_id, status, text, text_expires_at, invisible_since, last_seen_at, changed_at),
              UPDATE (status, text, text_expires_at, invisible_since, last_seen_at, changed_at) ON presence TO realtime_app;
        GRANT INSERT (room, target, at), UPDATE (at) ON erasures TO realtime_app;  -- locking a row takes a right to update it
    END IF;
END
$$;
