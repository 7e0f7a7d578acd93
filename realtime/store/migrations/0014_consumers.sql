-- Consumers of the log: who reads it behind the writers, and up to where. And two indexes of events.
--
-- Nodes of the version before know none of it and need none of it.

-- What is new since a position. One transaction writes many events, so its entries are small: 8 bytes an event.
CREATE INDEX CONCURRENTLY IF NOT EXISTS events_xid ON events (xid);

-- step: as the constraint events_client_id, which goes, for rows that have one. As long as a table is new and its statistics are
-- guesses, PostgreSQL takes an index that begins with the room for as good as the primary key, and reads the whole room where
-- one event is looked up by its number. It cannot do so with this one.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS events_client ON events (room, actor, client_id) WHERE client_id IS NOT NULL;

-- step
DO $$
DECLARE
    v_name name;
BEGIN
    FOR v_name IN SELECT conname FROM pg_constraint WHERE conrelid = 'events'::regclass AND contype = 'u' LOOP
        EXECUTE format('ALTER TABLE events DROP CONSTRAINT %I', v_name);
    END LOOP;
END
$$;

-- step
-- Everything before `position`, and of that transaction everything up to (room, seq), has been worked through. A new consumer
-- begins with what commits from now on. A node holds a shard until `held_until`, by the clock of the database.
CREATE TABLE IF NOT EXISTS consumers (
    name       text        NOT NULL,
    shard      integer     NOT NULL,
    position   xid8        NOT NULL DEFAULT pg_snapshot_xmin(pg_current_snapshot()),
    room       uuid        NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    seq        bigint      NOT NULL DEFAULT 0,
    holder     text,
    held_until timestamptz NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (name, shard)
) WITH (fillfactor = 50);

-- Bring back rows that were stamped by another PostgreSQL, which was further: here their transactions lie in the future, nobody
-- would ever see them. All rows become older than every snapshot; those that some consumer has not worked through are stamped
-- with this transaction, where all consumers begin again: some of it twice, nothing never.
CREATE OR REPLACE FUNCTION bring_back_stamps() RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    v_now     xid8 := pg_current_xact_id();
    v_tables  regclass[];
    v_table   regclass;
    v_is      boolean;
    v_ahead   boolean := false;
    v_indexes text[];
    v_index   text;
BEGIN
    v_tables := ARRAY(
        SELECT c.oid::regclass FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE a.attname = 'xid' AND a.atttypid = 'xid8'::regtype AND NOT a.attisdropped
          AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = current_schema()::regnamespace
    );
    FOREACH v_table IN ARRAY v_tables LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE xid > $1)', v_table) INTO v_is USING v_now;
        v_ahead := v_ahead OR v_is;
    END LOOP;
    IF NOT v_ahead THEN
        RETURN;
    END IF;
    CREATE TEMP TABLE left_to_consume ON COMMIT DROP AS
        SELECT e.room, e.seq FROM events e WHERE e.xid >= (SELECT min(c.position::text::numeric)::text::xid8 FROM consumers c);
    FOREACH v_table IN ARRAY v_tables LOOP
        -- A column with one value for all rows that are there costs no rewrite, however many they are.
        v_indexes := ARRAY(
            SELECT replace(pg_get_indexdef(i.indexrelid), ' ON ONLY ', ' ON ')
            FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
            WHERE i.indrelid = v_table AND a.attname = 'xid'
        );
        EXECUTE format('ALTER TABLE %s DROP COLUMN xid', v_table);
        EXECUTE format('ALTER TABLE %s ADD COLUMN xid xid8 NOT NULL DEFAULT ''3''', v_table);
        EXECUTE format('ALTER TABLE %s ALTER COLUMN xid SET DEFAULT pg_current_xact_id()', v_table);
        FOREACH v_index IN ARRAY v_indexes LOOP
            EXECUTE v_index;
        END LOOP;
    END LOOP;
    UPDATE events e SET xid = v_now FROM left_to_consume l WHERE e.room = l.room AND e.seq = l.seq;
    UPDATE consumers SET position = v_now, room = DEFAULT, seq = DEFAULT, holder = NULL, held_until = DEFAULT;
END
$$;

-- Begin a new epoch. Of several restores, the one that went back furthest counts.
CREATE OR REPLACE FUNCTION new_epoch() RETURNS uuid
LANGUAGE sql
SET search_path FROM CURRENT
AS $$
    SELECT bring_back_stamps();
    UPDATE rooms SET restored_seq = head_seq WHERE restored_seq IS NULL OR restored_seq > head_seq;
    UPDATE epoch SET id = gen_random_uuid(), began_at = now(), place = database_place() RETURNING id;
$$;

REVOKE ALL ON FUNCTION bring_back_stamps, new_epoch FROM PUBLIC;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'realtime_app') THEN
        GRANT SELECT, INSERT (name, shard), UPDATE (position, room, seq, holder, held_until) ON consumers TO realtime_app;
    END IF;
END
$$;
