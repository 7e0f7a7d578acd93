-- The epoch of the database. A restore from a back-up begins a new one, so that clients learn that some of what they hold may
-- never have happened. After a restore, before a node serves: SELECT new_epoch(); as the owner role.
--
-- All of it is added: nodes of the version before go on working while this is applied.

-- Which database this is: another one after a dump was restored, or a copy was made. Empty where PostgreSQL does not tell it.
CREATE FUNCTION database_place() RETURNS text
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (SELECT system_identifier FROM pg_control_system()) || '/'
        || (SELECT oid FROM pg_database WHERE datname = current_database());
EXCEPTION WHEN insufficient_privilege THEN
    RETURN '';
END
$$;

CREATE TABLE epoch (
    is_the_one boolean     PRIMARY KEY DEFAULT true CHECK (is_the_one),
    id         uuid        NOT NULL DEFAULT gen_random_uuid(),
    began_at   timestamptz NOT NULL DEFAULT now(),
    place      text        NOT NULL DEFAULT database_place()                     -- where it began
);
INSERT INTO epoch DEFAULT VALUES;

-- Up to here the log of a room is what clients of all epochs hold. NULL: there was no restore since it was made.
ALTER TABLE rooms ADD COLUMN restored_seq bigint;

-- Begin a new epoch. Of several restores, the one that went back furthest counts.
CREATE FUNCTION new_epoch() RETURNS uuid
LANGUAGE sql
SET search_path FROM CURRENT
AS $$
    UPDATE rooms SET restored_seq = head_seq WHERE restored_seq IS NULL OR restored_seq > head_seq;
    UPDATE epoch SET id = gen_random_uuid(), began_at = now(), place = database_place() RETURNING id;
$$;

REVOKE ALL ON FUNCTION new_epoch FROM PUBLIC;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'realtime_app') THEN
        GRANT SELECT ON epoch TO realtime_app;
    END IF;
END
$$;
