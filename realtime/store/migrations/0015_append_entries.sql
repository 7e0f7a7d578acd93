-- Appending for kinds of events to come: one jsonb parameter for a batch, rules of a kind as functions of its own, and numbers for
-- messages.
--
-- All of it is added. `append_batch` stays for nodes of the version before; both lock the same rows and number the same sequence.

-- Every message of the main line with a seq up to numbered_seq has its n: 1, 2, 3 … in the order of seq, and the last one is
-- last_n. No message above it has one. Where numbered_seq = head_seq a message gets its n as it is appended. Whatever else takes a
-- seq (a node of the version before, or the rows that were there already) leaves numbered_seq behind head_seq: then messages wait
-- for `number_messages`, which brings it forward.
ALTER TABLE rooms
    ADD COLUMN numbered_seq bigint NOT NULL DEFAULT 0,
    ADD COLUMN last_n       bigint NOT NULL DEFAULT 0;

-- An entry that a rule looks at. The actor is a member of the room, and the room is locked.
CREATE TYPE log_entry AS (
    ord         integer,      -- its place in the batch, from 1
    room        uuid,
    seq         bigint,       -- once it has one
    kind        text,
    actor       uuid,
    role        text,         -- of the actor in the room
    is_silenced boolean,      -- the actor, in a direct room
    client_id   text,
    target      bigint,
    thread      bigint,
    body        text,
    data        jsonb
);

-- Append a batch of entries of any kind in one round trip and one transaction.
--
-- The rooms' rows are locked first, in the order of their ids (two nodes cannot deadlock); only then do the next statements take
-- their snapshots, so that they see every retry and removal that committed while this one waited.
-- A room's row is found once, by the lock, and then by its place (`ctid`), see 0008. Joins are index look-ups by decree, see 0004,
-- and of two indexes the one that finds fewer rows: over a table without statistics the smaller one, the primary key, looked
-- cheaper than the one of client ids, and each retry was looked for in the whole room. That holds in the functions called, too.
-- A plain message is judged here. Of any other entry the kind's own function judges, `judge_<kind>`, and where there is one
-- `apply_<kind>` changes what an accepted entry changes beside its row (dots of a kind are underscores there). Without a judge,
-- or without a word of it, an entry is refused. The caller sends no `client_id` twice in one batch, and no two entries of which
-- one changes what the other's rule reads.
CREATE FUNCTION append_entries(
    p_batch       jsonb,           -- {rooms: [id, each once], is_ruled: whether there is any entry but plain messages,
                                   --  entries: [{room: position in rooms from 1, actor, kind, client_id, target, thread,
                                   --             body, data}]}
    OUT at        timestamptz,     -- of everything accepted
    OUT seqs      bigint[],        -- in the order of the batch; NULL where refused
    OUT refusals  text[],          -- NULL: all accepted. Of each entry NULL, 'duplicate', or the code of an error
    OUT first_ats timestamptz[]    -- of duplicates; NULL: there are none
)
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_bitmapscan = off
SET enable_material = off
SET random_page_cost = 0
SET cpu_index_tuple_cost = 1
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_at        timestamptz;
    v_count     integer   := jsonb_array_length(p_batch -> 'rooms');
    v_rooms     uuid[]    := array_fill(NULL::uuid, ARRAY[v_count]);
    v_heads     bigint[]  := array_fill(-1::bigint, ARRAY[v_count]);             -- -1: there is no such room
    v_last_ns   bigint[]  := array_fill(NULL::bigint, ARRAY[v_count]);           -- NULL: messages are not numbered now
    v_public    boolean[] := array_fill(false, ARRAY[v_count]);
    v_places    tid[]     := array_fill(NULL::tid, ARRAY[v_count]);
    v_room      record;
    v_ruled     log_entry[];
    v_verdicts  text[];                                                          -- of ruled entries; NULL: accepted
    v_verdict   record;
    v_kind      text;
    v_rule      text;
BEGIN
    FOR v_room IN
        SELECT w.no, r.id, r.head_seq, CASE WHEN r.numbered_seq = r.head_seq THEN r.last_n END AS last_n,
               r.kind = 'public' AS is_public, r.ctid AS place
        FROM jsonb_array_elements_text(p_batch -> 'rooms') WITH ORDINALITY AS w (id, no) JOIN rooms r ON r.id = w.id::uuid
        ORDER BY r.id
        FOR NO KEY UPDATE OF r
    LOOP
        v_rooms[v_room.no] := v_room.id;
        v_heads[v_room.no] := v_room.head_seq;
        v_last_ns[v_room.no] := v_room.last_n;
        v_public[v_room.no] := v_room.is_public;
        v_places[v_room.no] := v_room.place;
    END LOOP;
    v_at := date_trunc('milliseconds', clock_timestamp());

    IF (p_batch -> 'is_ruled')::boolean THEN
        v_ruled := ARRAY(
            SELECT (i.ord, v_rooms[i.room], NULL, i.kind, i.actor, m.role, m.is_silenced, i.client_id, i.target, i.thread,
                    i.body, i.data)::log_entry
            FROM ROWS FROM (jsonb_to_recordset(p_batch -> 'entries') AS (
                     room integer, actor uuid, kind text, client_id text, target bigint, thread bigint, body text, data jsonb
                 )) WITH ORDINALITY AS i (room, actor, kind, client_id, target, thread, body, data, ord)
            JOIN members m ON m.room = v_rooms[i.room] AND m.user_id = i.actor
            WHERE i.kind <> 'message.created' OR i.thread IS NOT NULL OR i.data IS NOT NULL
        );
        v_verdicts := array_fill('forbidden'::text, ARRAY[jsonb_array_length(p_batch -> 'entries')]);
        FOR v_kind IN SELECT DISTINCT e.kind FROM unnest(v_ruled) e LOOP
            v_rule := format('SELECT ord, refusal FROM %I($1)', 'judge_' || translate(v_kind, '.', '_'));
            FOR v_verdict IN EXECUTE v_rule USING ARRAY(SELECT e FROM unnest(v_ruled) e WHERE e.kind = v_kind) LOOP
                v_verdicts[v_verdict.ord] := v_verdict.refusal;
            END LOOP;
        END LOOP;
    END IF;

    WITH item AS (
        SELECT i.*, v_rooms[i.room_no] AS room
        FROM ROWS FROM (jsonb_to_recordset(p_batch -> 'entries') AS (
                 room integer, actor uuid, kind text, client_id text, target bigint, thread bigint, body text, data jsonb
             )) WITH ORDINALITY AS i (room_no, actor, kind, client_id, target, thread, body, data, ord)
    ), judged AS (
        SELECT i.*, e.seq AS first_seq, e.at AS first_at,
               CASE
                   WHEN e.seq IS NOT NULL AND e.kind = i.kind THEN 'duplicate'
                   WHEN e.seq IS NOT NULL THEN 'client_id_conflict'
                   WHEN m.role IS NULL AND v_public[i.room_no] THEN 'not_a_member'
                   WHEN m.role IS NULL THEN 'room_not_found'
                   WHEN i.kind = 'message.created' AND i.thread IS NULL AND i.data IS NULL THEN
                       CASE WHEN m.is_silenced THEN 'room_closed' END
                   WHEN v_verdicts IS NULL THEN 'forbidden'
                   ELSE v_verdicts[i.ord]
               END AS refusal
        FROM item i
        LEFT JOIN members m ON m.room = i.room AND m.user_id = i.actor
        LEFT JOIN events e ON e.room = i.room AND e.actor = i.actor AND e.client_id = i.client_id
    ), numbered AS (
        SELECT j.*,
               v_heads[j.room_no] + count(*) FILTER (WHERE j.refusal IS NULL) OVER earlier AS new_seq,
               v_last_ns[j.room_no] + count(*) FILTER (
                   WHERE j.refusal IS NULL AND j.kind = 'message.created' AND j.thread IS NULL
               ) OVER earlier AS new_n
        FROM judged j
        WINDOW earlier AS (PARTITION BY j.room_no ORDER BY j.ord)
    ), accepted AS (
        SELECT * FROM numbered n WHERE n.refusal IS NULL
    ), inserted AS (
        INSERT INTO events (room, seq, kind, actor, at, client_id, target, thread, n, body, data)
        SELECT n.room, n.new_seq, n.kind, n.actor, v_at, n.client_id, n.target, n.thread,
               CASE WHEN n.kind = 'message.created' AND n.thread IS NULL THEN n.new_n END, n.body, n.data
        FROM accepted n
    ), advanced AS (
        UPDATE rooms r
        SET head_seq = a.new_head, last_event_at = v_at,
            numbered_seq = CASE WHEN a.new_last_n IS NULL THEN r.numbered_seq ELSE a.new_head END,
            last_n = coalesce(a.new_last_n, r.last_n)
        FROM (
            SELECT n.room_no, max(n.new_seq) AS new_head, max(n.new_n) AS new_last_n FROM accepted n GROUP BY n.room_no
        ) a
        WHERE r.ctid = v_places[a.room_no]
    )
    SELECT array_agg(CASE WHEN n.refusal IS NULL THEN n.new_seq ELSE n.first_seq END ORDER BY n.ord),
           CASE WHEN bool_and(n.refusal IS NULL) THEN NULL ELSE array_agg(n.refusal ORDER BY n.ord) END,
           CASE WHEN bool_or(n.refusal = 'duplicate') THEN array_agg(n.first_at ORDER BY n.ord) END
    INTO seqs, refusals, first_ats
    FROM numbered n;

    IF v_ruled IS NOT NULL THEN
        v_ruled := ARRAY(
            SELECT (e.ord, e.room, seqs[e.ord], e.kind, e.actor, e.role, e.is_silenced, e.client_id, e.target, e.thread,
                    e.body, e.data)::log_entry
            FROM unnest(v_ruled) e
            WHERE refusals IS NULL OR refusals[e.ord] IS NULL
        );
        FOR v_kind IN SELECT DISTINCT e.kind FROM unnest(v_ruled) e LOOP
            v_rule := 'apply_' || translate(v_kind, '.', '_');
            IF to_regprocedure(format('%I(log_entry[], timestamptz)', v_rule)) IS NOT NULL THEN
                EXECUTE format('SELECT %I($1, $2)', v_rule)
                USING ARRAY(SELECT e FROM unnest(v_ruled) e WHERE e.kind = v_kind), v_at;
            END IF;
        END LOOP;
    END IF;

    at := v_at;
END
$$;

-- Rules. A judge is called for the entries of its kind in a batch, and says of each, by itself, NULL or the code of an error.

-- Messages with a thread: an answer to a message of the main line.
CREATE FUNCTION judge_message_created(p_entries log_entry[]) RETURNS TABLE (ord integer, refusal text)
LANGUAGE plpgsql
AS $$
BEGIN
    RETURN QUERY
    SELECT i.ord,
           CASE
               WHEN i.is_silenced THEN 'room_closed'
               WHEN i.thread IS NULL THEN NULL
               WHEN t.kind IS DISTINCT FROM 'message.created' OR t.deleted_at IS NOT NULL OR t.thread IS NOT NULL
               THEN 'message_not_found'
           END
    FROM unnest(p_entries) i
    LEFT JOIN events t ON t.room = i.room AND t.seq = i.thread;
END
$$;

-- Authors edit their own messages, so many times.
CREATE FUNCTION judge_message_edited(p_entries log_entry[]) RETURNS TABLE (ord integer, refusal text)
LANGUAGE plpgsql
AS $$
BEGIN
    RETURN QUERY
    SELECT i.ord,
           CASE
               WHEN i.is_silenced THEN 'room_closed'
               WHEN t.kind IS DISTINCT FROM 'message.created' OR t.deleted_at IS NOT NULL THEN 'message_not_found'
               WHEN t.actor <> i.actor THEN 'forbidden'
               WHEN t.edits >= 1000 THEN 'too_many_edits'
           END
    FROM unnest(p_entries) i
    LEFT JOIN events t ON t.room = i.room AND t.seq = i.target;
END
$$;

CREATE FUNCTION apply_message_edited(p_entries log_entry[], p_at timestamptz) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    UPDATE events e SET body = i.body, edited_at = p_at, edits = e.edits + 1
    FROM unnest(p_entries) i
    WHERE e.room = i.room AND e.seq = i.target;
END
$$;

-- Authors delete their own messages, admins and owners any; in a closed room too.
CREATE FUNCTION judge_message_deleted(p_entries log_entry[]) RETURNS TABLE (ord integer, refusal text)
LANGUAGE plpgsql
AS $$
BEGIN
    RETURN QUERY
    SELECT i.ord,
           CASE
               WHEN t.kind IS DISTINCT FROM 'message.created' OR t.deleted_at IS NOT NULL THEN 'message_not_found'
               WHEN t.actor <> i.actor AND i.role NOT IN ('admin', 'owner') THEN 'forbidden'
           END
    FROM unnest(p_entries) i
    LEFT JOIN events t ON t.room = i.room AND t.seq = i.target;
END
$$;

CREATE FUNCTION apply_message_deleted(p_entries log_entry[], p_at timestamptz) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    UPDATE events e SET body = '', data = NULL, deleted_at = p_at
    FROM unnest(p_entries) i
    WHERE e.room = i.room AND e.seq = i.target;
    INSERT INTO erasures (room, target, at) SELECT i.room, i.target, p_at FROM unnest(p_entries) i;
END
$$;

-- Give their n to messages that have none, of at most p_most events of one room. False: nothing is left to number there.
-- The lock comes in a statement of its own: the next one sees all that was committed under it.
CREATE FUNCTION number_messages(p_room uuid, p_most integer) RETURNS boolean
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
DECLARE
    v_room   record;
    v_until  bigint;
    v_last_n bigint;
BEGIN
    SELECT r.head_seq, r.numbered_seq, r.last_n INTO v_room FROM rooms r WHERE r.id = p_room FOR NO KEY UPDATE;
    IF NOT FOUND OR v_room.numbered_seq = v_room.head_seq THEN
        RETURN false;
    END IF;
    v_until := least(v_room.head_seq, v_room.numbered_seq + p_most);
    WITH message AS (
        SELECT e.seq, v_room.last_n + row_number() OVER (ORDER BY e.seq) AS n
        FROM events e
        WHERE e.room = p_room AND e.seq > v_room.numbered_seq AND e.seq <= v_until
          AND e.kind = 'message.created' AND e.thread IS NULL
    ), numbered AS (
        UPDATE events e SET n = m.n FROM message m WHERE e.room = p_room AND e.seq = m.seq RETURNING e.n
    )
    SELECT max(n) INTO v_last_n FROM numbered;
    UPDATE rooms SET numbered_seq = v_until, last_n = coalesce(v_last_n, last_n) WHERE id = p_room;
    RETURN v_until < v_room.head_seq;
END
$$;

REVOKE ALL ON FUNCTION append_entries, judge_message_created, judge_message_edited, apply_message_edited, judge_message_deleted,
    apply_message_deleted, number_messages FROM PUBLIC;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'roomwire_app') THEN
        GRANT UPDATE (numbered_seq, last_n) ON rooms TO roomwire_app;
        GRANT EXECUTE ON FUNCTION append_entries, judge_message_created, judge_message_edited, apply_message_edited,
            judge_message_deleted, apply_message_deleted, number_messages TO roomwire_app;
    END IF;
END
$$;
