-- Which transaction made a row: what is new since a snapshot (one cursor over everything), and what events can say more.
--
-- `xid` is stamped by its default and by triggers, so that nodes of the version before stamp it too, and no node can state
-- another one. pg_current_xact_id() is STABLE: adding the column evaluates it once and rewrites no table. Rows that were there
-- before carry the xid of this migration. One table a step: none waits for a lock while it holds another one.

-- An event never changes its xid: an edit or a deletion is an event of its own, and that is what others learn of. So the rows of
-- a room become visible in the order of their seq, and a backward scan ends at the first one that a cursor saw.
ALTER TABLE events
    ADD COLUMN IF NOT EXISTS xid    xid8 NOT NULL DEFAULT pg_current_xact_id(),
    ADD COLUMN IF NOT EXISTS data   jsonb,                                     -- what the kind says beyond the columns
    ADD COLUMN IF NOT EXISTS thread bigint,                                    -- the seq of the message that it answers
    ADD COLUMN IF NOT EXISTS n      bigint;                                    -- ordinal of a message in the room's main line

-- step: who is a member, and as what
ALTER TABLE members ADD COLUMN IF NOT EXISTS xid xid8 NOT NULL DEFAULT pg_current_xact_id();

-- step: what the user's devices show of the account: its names, rights, settings and blocks
ALTER TABLE users ADD COLUMN IF NOT EXISTS xid xid8 NOT NULL DEFAULT pg_current_xact_id();

-- step: what was chosen of presence
ALTER TABLE presence ADD COLUMN IF NOT EXISTS xid xid8 NOT NULL DEFAULT pg_current_xact_id();

-- step: rooms that a user is no member of any more, since a row that is gone carries no xid; void where there is a row of members
CREATE TABLE IF NOT EXISTS departures (
    user_id uuid NOT NULL REFERENCES users,
    room    uuid NOT NULL,
    xid     xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (user_id, room)
);

-- Stamp a row that is updated.
CREATE OR REPLACE FUNCTION stamp() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    NEW.xid := pg_current_xact_id();
    RETURN NEW;
END
$$;

-- Remember who is no member any more. As its owner: the application role cannot invent departures.
CREATE OR REPLACE FUNCTION departed() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    INSERT INTO departures (user_id, room) VALUES (OLD.user_id, OLD.room)
    ON CONFLICT (user_id, room) DO UPDATE SET xid = excluded.xid;
    RETURN NULL;
END
$$;

-- Stamp the account whose blocks changed: its devices read them all anew.
CREATE OR REPLACE FUNCTION blocks_changed() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    UPDATE users SET xid = pg_current_xact_id() WHERE id = coalesce(NEW.user_id, OLD.user_id);
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION stamp, departed, blocks_changed FROM PUBLIC;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'realtime_app') THEN
        GRANT SELECT ON departures TO realtime_app;
    END IF;
END
$$;

-- step
CREATE OR REPLACE TRIGGER members_stamp BEFORE UPDATE ON members FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE OR REPLACE TRIGGER members_departed AFTER DELETE ON members FOR EACH ROW EXECUTE FUNCTION departed();

-- step
CREATE OR REPLACE TRIGGER users_stamp BEFORE UPDATE OF username, display_name, is_admin, may_add ON users
    FOR EACH ROW EXECUTE FUNCTION stamp();

-- step: not when a user was last seen
CREATE OR REPLACE TRIGGER presence_stamp BEFORE UPDATE OF status, text, text_expires_at ON presence
    FOR EACH ROW EXECUTE FUNCTION stamp();

-- step
CREATE OR REPLACE TRIGGER blocks_changed AFTER INSERT OR DELETE ON blocks FOR EACH ROW EXECUTE FUNCTION blocks_changed();

-- step
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'realtime_app') THEN
        GRANT INSERT (data, thread, n), UPDATE (data, n) ON events TO realtime_app;
    END IF;
END
$$;
