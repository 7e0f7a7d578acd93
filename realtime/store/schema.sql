-- The schema that the migrations make. Written by `make docs`; a test fails when it is stale.

CREATE TYPE public.log_entry AS (
	ord integer,
	room uuid,
	seq bigint,
	kind text,
	actor uuid,
	role text,
	is_silenced boolean,
	client_id text,
	target bigint,
	thread bigint,
	body text,
	data jsonb
);

CREATE FUNCTION public.append_batch(p_rooms uuid[], p_actors uuid[], p_kinds text[], p_client_ids text[], p_targets bigint[], p_bodies text[]) RETURNS TABLE(at timestamp with time zone, seqs bigint[], outcomes text[], first_ats timestamp with time zone[])
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_material TO 'off'
    SET jit TO 'off'
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
                   WHEN t.kind IS DISTINCT FROM 'message.created' OR t.deleted_at IS NOT NULL THEN 'message_not_found'
                   WHEN t.actor <> i.actor AND m.role = 'member' THEN 'forbidden'
                   ELSE 'accepted'
               END AS outcome
        FROM item i
        LEFT JOIN rooms r ON r.id = i.room
        LEFT JOIN members m ON m.room = i.room AND m.user_id = i.actor
        LEFT JOIN events e ON e.room = i.room AND e.actor = i.actor AND e.client_id = i.client_id
        LEFT JOIN events t ON t.room = i.room AND t.seq = i.target
    ), numbered AS (
        SELECT j.*, j.head_seq + count(*) FILTER (WHERE j.outcome = 'accepted') OVER (PARTITION BY j.room ORDER BY j.ord) AS new_seq
        FROM judged j
    ), accepted AS (
        SELECT * FROM numbered n WHERE n.outcome = 'accepted'
    ), inserted AS (
        INSERT INTO events (room, seq, kind, actor, at, client_id, target, body)
        SELECT n.room, n.new_seq, n.kind, n.actor, v_at, n.client_id, n.target, n.body
        FROM accepted n
    ), edited AS (
        UPDATE events e SET body = n.body, edited_at = v_at
        FROM accepted n
        WHERE n.kind = 'message.edited' AND e.room = n.room AND e.seq = n.target
    ), erased AS (
        UPDATE events e SET body = '', deleted_at = v_at
        FROM accepted n
        WHERE n.kind = 'message.deleted' AND e.room = n.room AND e.seq = n.target
    ), erased_edits AS (
        UPDATE events e SET body = ''
        FROM accepted n
        WHERE n.kind = 'message.deleted' AND e.room = n.room AND e.target = n.target AND e.kind = 'message.edited'
    ), advanced AS (
        UPDATE rooms r SET head_seq = a.new_head, last_event_at = v_at
        FROM (SELECT n.room, max(n.new_seq) AS new_head FROM accepted n GROUP BY n.room) a
        WHERE r.id = a.room
    )
    SELECT v_at,
           array_agg(CASE WHEN n.outcome = 'accepted' THEN n.new_seq ELSE n.first_seq END ORDER BY n.ord),
           CASE WHEN bool_and(n.outcome = 'accepted') THEN NULL ELSE array_agg(n.outcome ORDER BY n.ord) END,
           CASE WHEN bool_or(n.outcome = 'duplicate') THEN array_agg(n.first_at ORDER BY n.ord) END
    FROM numbered n;
END
$$;

CREATE FUNCTION public.append_batch(p_rooms uuid[], p_room_nos integer[], p_actors uuid[], p_kinds text[], p_client_ids text[], p_targets bigint[], p_bodies text[], p_max_edits integer) RETURNS TABLE(at timestamp with time zone, seqs bigint[], outcomes text[], first_ats timestamp with time zone[])
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_material TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    SET random_page_cost TO '0'
    SET cpu_index_tuple_cost TO '1'
    AS $$
#variable_conflict use_column
DECLARE
    v_at     timestamptz;
    v_heads  bigint[]  := array_fill(-1::bigint, ARRAY[cardinality(p_rooms)]);   -- -1: there is no such room
    v_public boolean[] := array_fill(false, ARRAY[cardinality(p_rooms)]);
    v_places tid[]     := array_fill(NULL::tid, ARRAY[cardinality(p_rooms)]);
    v_room   record;
BEGIN
    FOR v_room IN
        SELECT w.no, r.head_seq, r.kind = 'public' AS is_public, r.ctid AS place
        FROM unnest(p_rooms) WITH ORDINALITY AS w (id, no) JOIN rooms r ON r.id = w.id
        ORDER BY r.id
        FOR NO KEY UPDATE OF r
    LOOP
        v_heads[v_room.no] := v_room.head_seq;
        v_public[v_room.no] := v_room.is_public;
        v_places[v_room.no] := v_room.place;
    END LOOP;
    v_at := date_trunc('milliseconds', clock_timestamp());
    RETURN QUERY
    WITH item AS (
        SELECT i.*, p_rooms[i.room_no] AS room
        FROM unnest(p_room_nos, p_actors, p_kinds, p_client_ids, p_targets, p_bodies)
             WITH ORDINALITY AS i (room_no, actor, kind, client_id, target, body, ord)
    ), judged AS (
        SELECT i.*, e.seq AS first_seq, e.at AS first_at,
               CASE
                   WHEN e.seq IS NOT NULL AND e.kind = i.kind THEN 'duplicate'
                   WHEN e.seq IS NOT NULL THEN 'client_id_conflict'
                   WHEN m.role IS NULL AND v_public[i.room_no] THEN 'not_a_member'
                   WHEN m.role IS NULL THEN 'room_not_found'
                   WHEN m.is_silenced AND i.kind <> 'message.deleted' THEN 'room_closed'
                   WHEN i.kind = 'message.created' THEN 'accepted'
                   WHEN t.kind IS DISTINCT FROM 'message.created' OR t.deleted_at IS NOT NULL THEN 'message_not_found'
                   WHEN t.actor <> i.actor AND (m.role = 'member' OR i.kind = 'message.edited') THEN 'forbidden'
                   WHEN i.kind = 'message.edited' AND t.edits >= p_max_edits THEN 'too_many_edits'
                   ELSE 'accepted'
               END AS outcome
        FROM item i
        LEFT JOIN members m ON m.room = i.room AND m.user_id = i.actor
        LEFT JOIN events e ON e.room = i.room AND e.actor = i.actor AND e.client_id = i.client_id
        LEFT JOIN events t ON t.room = i.room AND t.seq = i.target
    ), numbered AS (
        SELECT j.*, v_heads[j.room_no]
                    + count(*) FILTER (WHERE j.outcome = 'accepted') OVER (PARTITION BY j.room_no ORDER BY j.ord) AS new_seq
        FROM judged j
    ), accepted AS (
        SELECT * FROM numbered n WHERE n.outcome = 'accepted'
    ), inserted AS (
        INSERT INTO events (room, seq, kind, actor, at, client_id, target, body)
        SELECT n.room, n.new_seq, n.kind, n.actor, v_at, n.client_id, n.target, n.body
        FROM accepted n
    ), edited AS (
        UPDATE events e SET body = n.body, edited_at = v_at, edits = e.edits + 1
        FROM accepted n
        WHERE n.kind = 'message.edited' AND e.room = n.room AND e.seq = n.target
    ), erased AS (
        UPDATE events e SET body = '', deleted_at = v_at
        FROM accepted n
        WHERE n.kind = 'message.deleted' AND e.room = n.room AND e.seq = n.target
    ), left_to_erase AS (
        INSERT INTO erasures (room, target, at)
        SELECT n.room, n.target, v_at FROM accepted n WHERE n.kind = 'message.deleted'
    ), advanced AS (
        UPDATE rooms r SET head_seq = a.new_head, last_event_at = v_at
        FROM (SELECT n.room_no, max(n.new_seq) AS new_head FROM accepted n GROUP BY n.room_no) a
        WHERE r.ctid = v_places[a.room_no]
    )
    SELECT v_at,
           array_agg(CASE WHEN n.outcome = 'accepted' THEN n.new_seq ELSE n.first_seq END ORDER BY n.ord),
           CASE WHEN bool_and(n.outcome = 'accepted') THEN NULL ELSE array_agg(n.outcome ORDER BY n.ord) END,
           CASE WHEN bool_or(n.outcome = 'duplicate') THEN array_agg(n.first_at ORDER BY n.ord) END
    FROM numbered n;
END
$$;

CREATE FUNCTION public.append_entries(p_batch jsonb, OUT at timestamp with time zone, OUT seqs bigint[], OUT refusals text[], OUT first_ats timestamp with time zone[]) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_material TO 'off'
    SET random_page_cost TO '0'
    SET cpu_index_tuple_cost TO '1'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    AS $_$
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
$_$;

CREATE FUNCTION public.apply_message_deleted(p_entries public.log_entry[], p_at timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE events e SET body = '', data = NULL, deleted_at = p_at
    FROM unnest(p_entries) i
    WHERE e.room = i.room AND e.seq = i.target;
    INSERT INTO erasures (room, target, at) SELECT i.room, i.target, p_at FROM unnest(p_entries) i;
END
$$;

CREATE FUNCTION public.apply_message_edited(p_entries public.log_entry[], p_at timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE events e SET body = i.body, edited_at = p_at, edits = e.edits + 1
    FROM unnest(p_entries) i
    WHERE e.room = i.room AND e.seq = i.target;
END
$$;

CREATE FUNCTION public.blocks_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    UPDATE users SET xid = pg_current_xact_id() WHERE id = coalesce(NEW.user_id, OLD.user_id);
    RETURN NULL;
END
$$;

CREATE FUNCTION public.bring_back_stamps() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $_$
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
$_$;

CREATE FUNCTION public.database_place() RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    RETURN (SELECT system_identifier FROM pg_control_system()) || '/'
        || (SELECT oid FROM pg_database WHERE datname = current_database());
EXCEPTION WHEN insufficient_privilege THEN
    RETURN '';
END
$$;

CREATE FUNCTION public.departed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    INSERT INTO departures (user_id, room) VALUES (OLD.user_id, OLD.room)
    ON CONFLICT (user_id, room) DO UPDATE SET xid = excluded.xid;
    RETURN NULL;
END
$$;

CREATE FUNCTION public.forget_plain_signing_keys() RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    UPDATE signing_keys SET secret = NULL WHERE secret IS NOT NULL AND (wrapped IS NOT NULL OR retires_at <= now())
$$;

CREATE FUNCTION public.judge_message_created(p_entries public.log_entry[]) RETURNS TABLE(ord integer, refusal text)
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

CREATE FUNCTION public.judge_message_deleted(p_entries public.log_entry[]) RETURNS TABLE(ord integer, refusal text)
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

CREATE FUNCTION public.judge_message_edited(p_entries public.log_entry[]) RETURNS TABLE(ord integer, refusal text)
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

CREATE FUNCTION public.new_epoch() RETURNS uuid
    LANGUAGE sql
    SET search_path TO 'public', 'pg_temp'
    AS $$
    SELECT bring_back_stamps();
    UPDATE rooms SET restored_seq = head_seq WHERE restored_seq IS NULL OR restored_seq > head_seq;
    UPDATE epoch SET id = gen_random_uuid(), began_at = now(), place = database_place() RETURNING id;
$$;

CREATE FUNCTION public.number_messages(p_room uuid, p_most integer) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
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

CREATE FUNCTION public.stamp() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    NEW.xid := pg_current_xact_id();
    RETURN NEW;
END
$$;

CREATE TABLE public.bans (
    room uuid NOT NULL,
    user_id uuid NOT NULL,
    actor uuid NOT NULL,
    at timestamp with time zone NOT NULL
);

CREATE TABLE public.blocks (
    user_id uuid NOT NULL,
    blocked uuid NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.consumers (
    name text NOT NULL,
    shard integer NOT NULL,
    "position" xid8 DEFAULT pg_snapshot_xmin(pg_current_snapshot()) NOT NULL,
    room uuid DEFAULT '00000000-0000-0000-0000-000000000000'::uuid NOT NULL,
    seq bigint DEFAULT 0 NOT NULL,
    holder text,
    held_until timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE public.departures (
    user_id uuid NOT NULL,
    room uuid NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL
);

CREATE TABLE public.epoch (
    is_the_one boolean DEFAULT true NOT NULL,
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    began_at timestamp with time zone DEFAULT now() NOT NULL,
    place text DEFAULT public.database_place() NOT NULL,
    CONSTRAINT epoch_is_the_one_check CHECK (is_the_one)
);

CREATE TABLE public.erasures (
    room uuid NOT NULL,
    target bigint NOT NULL,
    at timestamp with time zone NOT NULL
);

CREATE TABLE public.events (
    room uuid NOT NULL,
    seq bigint NOT NULL,
    kind text NOT NULL,
    actor uuid NOT NULL,
    at timestamp with time zone NOT NULL,
    client_id text,
    target bigint,
    user_id uuid,
    role text,
    body text,
    edited_at timestamp with time zone,
    deleted_at timestamp with time zone,
    edits integer DEFAULT 0 NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    data jsonb,
    thread bigint,
    n bigint,
    CONSTRAINT events_seq_check CHECK ((seq > 0))
);

CREATE TABLE public.members (
    room uuid NOT NULL,
    user_id uuid NOT NULL,
    role text NOT NULL,
    joined_at timestamp with time zone DEFAULT now() NOT NULL,
    is_closed boolean DEFAULT false NOT NULL,
    is_silenced boolean DEFAULT false NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    CONSTRAINT members_role_check CHECK ((role = ANY (ARRAY['owner'::text, 'admin'::text, 'member'::text])))
);

CREATE TABLE public.presence (
    user_id uuid NOT NULL,
    status text DEFAULT 'online'::text NOT NULL,
    text text DEFAULT ''::text NOT NULL,
    text_expires_at timestamp with time zone,
    invisible_since timestamp with time zone,
    last_seen_at timestamp with time zone,
    changed_at timestamp with time zone DEFAULT '1970-01-01 00:00:00+00'::timestamp with time zone NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    CONSTRAINT presence_status_check CHECK ((status = ANY (ARRAY['online'::text, 'away'::text, 'dnd'::text, 'invisible'::text]))),
    CONSTRAINT presence_text_check CHECK ((char_length(text) <= 140))
)
WITH (fillfactor='80');

CREATE TABLE public.rooms (
    id uuid NOT NULL,
    kind text NOT NULL,
    name text,
    direct_key text,
    head_seq bigint DEFAULT 0 NOT NULL,
    member_count integer DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    last_event_at timestamp with time zone DEFAULT now() NOT NULL,
    restored_seq bigint,
    numbered_seq bigint DEFAULT 0 NOT NULL,
    last_n bigint DEFAULT 0 NOT NULL,
    CONSTRAINT rooms_check CHECK (((kind = 'direct'::text) = (direct_key IS NOT NULL))),
    CONSTRAINT rooms_head_seq_check CHECK ((head_seq >= 0)),
    CONSTRAINT rooms_kind_check CHECK ((kind = ANY (ARRAY['public'::text, 'private'::text, 'direct'::text])))
)
WITH (fillfactor='70');

CREATE TABLE public.schema_migrations (
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.sessions (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    refresh_hash bytea NOT NULL,
    previous_hash bytea,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    refreshed_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone,
    revoked_reason text,
    agent text DEFAULT ''::text NOT NULL,
    family bytea,
    successor bytea
);

CREATE TABLE public.signing_keys (
    kid text NOT NULL,
    secret bytea,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    active_from timestamp with time zone DEFAULT now() NOT NULL,
    retires_at timestamp with time zone,
    wrapped text
);

CREATE TABLE public.users (
    id uuid NOT NULL,
    username text NOT NULL,
    username_key text NOT NULL,
    display_name text NOT NULL,
    password_hash text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    disabled_at timestamp with time zone,
    is_admin boolean DEFAULT false NOT NULL,
    password_version integer DEFAULT 1 NOT NULL,
    one_time_until timestamp with time zone,
    may_add text DEFAULT 'everybody'::text NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL
);

ALTER TABLE ONLY public.bans
    ADD CONSTRAINT bans_pkey PRIMARY KEY (room, user_id);

ALTER TABLE ONLY public.blocks
    ADD CONSTRAINT blocks_pkey PRIMARY KEY (user_id, blocked);

ALTER TABLE ONLY public.consumers
    ADD CONSTRAINT consumers_pkey PRIMARY KEY (name, shard);

ALTER TABLE ONLY public.departures
    ADD CONSTRAINT departures_pkey PRIMARY KEY (user_id, room);

ALTER TABLE ONLY public.epoch
    ADD CONSTRAINT epoch_pkey PRIMARY KEY (is_the_one);

ALTER TABLE ONLY public.erasures
    ADD CONSTRAINT erasures_pkey PRIMARY KEY (room, target);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (room, seq);

ALTER TABLE ONLY public.members
    ADD CONSTRAINT members_pkey PRIMARY KEY (room, user_id);

ALTER TABLE ONLY public.presence
    ADD CONSTRAINT presence_pkey PRIMARY KEY (user_id);

ALTER TABLE ONLY public.rooms
    ADD CONSTRAINT rooms_direct_key UNIQUE (direct_key);

ALTER TABLE ONLY public.rooms
    ADD CONSTRAINT rooms_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_previous_hash UNIQUE (previous_hash);

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_refresh_hash UNIQUE (refresh_hash);

ALTER TABLE ONLY public.signing_keys
    ADD CONSTRAINT signing_keys_pkey PRIMARY KEY (kid);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_username_key UNIQUE (username_key);

CREATE INDEX erasures_at ON public.erasures USING btree (at);

CREATE UNIQUE INDEX events_client ON public.events USING btree (room, actor, client_id) WHERE (client_id IS NOT NULL);

CREATE INDEX events_messages ON public.events USING btree (room, seq) WHERE (kind = 'message.created'::text);

CREATE INDEX events_target ON public.events USING btree (room, target) WHERE (target IS NOT NULL);

CREATE INDEX events_xid ON public.events USING btree (xid);

CREATE INDEX members_user ON public.members USING btree (user_id, room);

CREATE INDEX presence_changed ON public.presence USING btree (changed_at);

CREATE INDEX presence_invisible ON public.presence USING btree (user_id) WHERE (status = 'invisible'::text);

CREATE INDEX rooms_public ON public.rooms USING btree (id) WHERE (kind = 'public'::text);

CREATE INDEX sessions_open ON public.sessions USING btree (user_id, refreshed_at) WHERE (revoked_at IS NULL);

CREATE INDEX sessions_revoked ON public.sessions USING btree (revoked_at) WHERE (revoked_at IS NOT NULL);

CREATE INDEX sessions_user ON public.sessions USING btree (user_id);

CREATE INDEX users_admins ON public.users USING btree (id) WHERE is_admin;

CREATE INDEX users_username_prefix ON public.users USING btree (username_key text_pattern_ops);

CREATE TRIGGER blocks_changed AFTER INSERT OR DELETE ON public.blocks FOR EACH ROW EXECUTE FUNCTION public.blocks_changed();

CREATE TRIGGER members_departed AFTER DELETE ON public.members FOR EACH ROW EXECUTE FUNCTION public.departed();

CREATE TRIGGER members_stamp BEFORE UPDATE ON public.members FOR EACH ROW EXECUTE FUNCTION public.stamp();

CREATE TRIGGER presence_stamp BEFORE UPDATE OF status, text, text_expires_at ON public.presence FOR EACH ROW EXECUTE FUNCTION public.stamp();

CREATE TRIGGER users_stamp BEFORE UPDATE OF username, display_name, is_admin, may_add ON public.users FOR EACH ROW EXECUTE FUNCTION public.stamp();

ALTER TABLE ONLY public.bans
    ADD CONSTRAINT bans_room_fkey FOREIGN KEY (room) REFERENCES public.rooms(id);

ALTER TABLE ONLY public.bans
    ADD CONSTRAINT bans_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.blocks
    ADD CONSTRAINT blocks_blocked_fkey FOREIGN KEY (blocked) REFERENCES public.users(id);

ALTER TABLE ONLY public.blocks
    ADD CONSTRAINT blocks_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.departures
    ADD CONSTRAINT departures_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.members
    ADD CONSTRAINT members_room_fkey FOREIGN KEY (room) REFERENCES public.rooms(id);

ALTER TABLE ONLY public.members
    ADD CONSTRAINT members_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.presence
    ADD CONSTRAINT presence_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);

GRANT USAGE ON SCHEMA public TO roomwire_app;

REVOKE ALL ON FUNCTION public.append_batch(p_rooms uuid[], p_actors uuid[], p_kinds text[], p_client_ids text[], p_targets bigint[], p_bodies text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.append_batch(p_rooms uuid[], p_actors uuid[], p_kinds text[], p_client_ids text[], p_targets bigint[], p_bodies text[]) TO roomwire_app;

REVOKE ALL ON FUNCTION public.append_batch(p_rooms uuid[], p_room_nos integer[], p_actors uuid[], p_kinds text[], p_client_ids text[], p_targets bigint[], p_bodies text[], p_max_edits integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.append_batch(p_rooms uuid[], p_room_nos integer[], p_actors uuid[], p_kinds text[], p_client_ids text[], p_targets bigint[], p_bodies text[], p_max_edits integer) TO roomwire_app;

REVOKE ALL ON FUNCTION public.append_entries(p_batch jsonb, OUT at timestamp with time zone, OUT seqs bigint[], OUT refusals text[], OUT first_ats timestamp with time zone[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.append_entries(p_batch jsonb, OUT at timestamp with time zone, OUT seqs bigint[], OUT refusals text[], OUT first_ats timestamp with time zone[]) TO roomwire_app;

REVOKE ALL ON FUNCTION public.apply_message_deleted(p_entries public.log_entry[], p_at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.apply_message_deleted(p_entries public.log_entry[], p_at timestamp with time zone) TO roomwire_app;

REVOKE ALL ON FUNCTION public.apply_message_edited(p_entries public.log_entry[], p_at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.apply_message_edited(p_entries public.log_entry[], p_at timestamp with time zone) TO roomwire_app;

REVOKE ALL ON FUNCTION public.blocks_changed() FROM PUBLIC;

REVOKE ALL ON FUNCTION public.bring_back_stamps() FROM PUBLIC;

REVOKE ALL ON FUNCTION public.departed() FROM PUBLIC;

REVOKE ALL ON FUNCTION public.forget_plain_signing_keys() FROM PUBLIC;
GRANT ALL ON FUNCTION public.forget_plain_signing_keys() TO roomwire_app;

REVOKE ALL ON FUNCTION public.judge_message_created(p_entries public.log_entry[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.judge_message_created(p_entries public.log_entry[]) TO roomwire_app;

REVOKE ALL ON FUNCTION public.judge_message_deleted(p_entries public.log_entry[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.judge_message_deleted(p_entries public.log_entry[]) TO roomwire_app;

REVOKE ALL ON FUNCTION public.judge_message_edited(p_entries public.log_entry[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.judge_message_edited(p_entries public.log_entry[]) TO roomwire_app;

REVOKE ALL ON FUNCTION public.new_epoch() FROM PUBLIC;

REVOKE ALL ON FUNCTION public.number_messages(p_room uuid, p_most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.number_messages(p_room uuid, p_most integer) TO roomwire_app;

REVOKE ALL ON FUNCTION public.stamp() FROM PUBLIC;

GRANT SELECT,DELETE ON TABLE public.bans TO roomwire_app;

GRANT INSERT(room) ON TABLE public.bans TO roomwire_app;

GRANT INSERT(user_id) ON TABLE public.bans TO roomwire_app;

GRANT INSERT(actor) ON TABLE public.bans TO roomwire_app;

GRANT INSERT(at) ON TABLE public.bans TO roomwire_app;

GRANT SELECT,DELETE ON TABLE public.blocks TO roomwire_app;

GRANT INSERT(user_id) ON TABLE public.blocks TO roomwire_app;

GRANT INSERT(blocked) ON TABLE public.blocks TO roomwire_app;

GRANT SELECT ON TABLE public.consumers TO roomwire_app;

GRANT INSERT(name) ON TABLE public.consumers TO roomwire_app;

GRANT INSERT(shard) ON TABLE public.consumers TO roomwire_app;

GRANT UPDATE("position") ON TABLE public.consumers TO roomwire_app;

GRANT UPDATE(room) ON TABLE public.consumers TO roomwire_app;

GRANT UPDATE(seq) ON TABLE public.consumers TO roomwire_app;

GRANT UPDATE(holder) ON TABLE public.consumers TO roomwire_app;

GRANT UPDATE(held_until) ON TABLE public.consumers TO roomwire_app;

GRANT SELECT ON TABLE public.departures TO roomwire_app;

GRANT SELECT ON TABLE public.epoch TO roomwire_app;

GRANT SELECT,DELETE ON TABLE public.erasures TO roomwire_app;

GRANT INSERT(room) ON TABLE public.erasures TO roomwire_app;

GRANT INSERT(target) ON TABLE public.erasures TO roomwire_app;

GRANT INSERT(at),UPDATE(at) ON TABLE public.erasures TO roomwire_app;

GRANT SELECT ON TABLE public.events TO roomwire_app;

GRANT INSERT(room) ON TABLE public.events TO roomwire_app;

GRANT INSERT(seq) ON TABLE public.events TO roomwire_app;

GRANT INSERT(kind) ON TABLE public.events TO roomwire_app;

GRANT INSERT(actor) ON TABLE public.events TO roomwire_app;

GRANT INSERT(at) ON TABLE public.events TO roomwire_app;

GRANT INSERT(client_id) ON TABLE public.events TO roomwire_app;

GRANT INSERT(target) ON TABLE public.events TO roomwire_app;

GRANT INSERT(user_id) ON TABLE public.events TO roomwire_app;

GRANT INSERT(role) ON TABLE public.events TO roomwire_app;

GRANT INSERT(body),UPDATE(body) ON TABLE public.events TO roomwire_app;

GRANT UPDATE(edited_at) ON TABLE public.events TO roomwire_app;

GRANT UPDATE(deleted_at) ON TABLE public.events TO roomwire_app;

GRANT UPDATE(edits) ON TABLE public.events TO roomwire_app;

GRANT INSERT(data),UPDATE(data) ON TABLE public.events TO roomwire_app;

GRANT INSERT(thread) ON TABLE public.events TO roomwire_app;

GRANT INSERT(n),UPDATE(n) ON TABLE public.events TO roomwire_app;

GRANT SELECT,DELETE ON TABLE public.members TO roomwire_app;

GRANT INSERT(room) ON TABLE public.members TO roomwire_app;

GRANT INSERT(user_id) ON TABLE public.members TO roomwire_app;

GRANT INSERT(role),UPDATE(role) ON TABLE public.members TO roomwire_app;

GRANT UPDATE(is_closed) ON TABLE public.members TO roomwire_app;

GRANT UPDATE(is_silenced) ON TABLE public.members TO roomwire_app;

GRANT SELECT ON TABLE public.presence TO roomwire_app;

GRANT INSERT(user_id) ON TABLE public.presence TO roomwire_app;

GRANT INSERT(status),UPDATE(status) ON TABLE public.presence TO roomwire_app;

GRANT INSERT(text),UPDATE(text) ON TABLE public.presence TO roomwire_app;

GRANT INSERT(text_expires_at),UPDATE(text_expires_at) ON TABLE public.presence TO roomwire_app;

GRANT INSERT(invisible_since),UPDATE(invisible_since) ON TABLE public.presence TO roomwire_app;

GRANT INSERT(last_seen_at),UPDATE(last_seen_at) ON TABLE public.presence TO roomwire_app;

GRANT INSERT(changed_at),UPDATE(changed_at) ON TABLE public.presence TO roomwire_app;

GRANT SELECT ON TABLE public.rooms TO roomwire_app;

GRANT INSERT(id) ON TABLE public.rooms TO roomwire_app;

GRANT INSERT(kind) ON TABLE public.rooms TO roomwire_app;

GRANT INSERT(name) ON TABLE public.rooms TO roomwire_app;

GRANT INSERT(direct_key) ON TABLE public.rooms TO roomwire_app;

GRANT UPDATE(head_seq) ON TABLE public.rooms TO roomwire_app;

GRANT INSERT(member_count),UPDATE(member_count) ON TABLE public.rooms TO roomwire_app;

GRANT UPDATE(last_event_at) ON TABLE public.rooms TO roomwire_app;

GRANT UPDATE(numbered_seq) ON TABLE public.rooms TO roomwire_app;

GRANT UPDATE(last_n) ON TABLE public.rooms TO roomwire_app;

GRANT SELECT ON TABLE public.schema_migrations TO roomwire_app;

GRANT SELECT ON TABLE public.sessions TO roomwire_app;

GRANT INSERT(id) ON TABLE public.sessions TO roomwire_app;

GRANT INSERT(user_id) ON TABLE public.sessions TO roomwire_app;

GRANT INSERT(refresh_hash),UPDATE(refresh_hash) ON TABLE public.sessions TO roomwire_app;

GRANT UPDATE(previous_hash) ON TABLE public.sessions TO roomwire_app;

GRANT UPDATE(refreshed_at) ON TABLE public.sessions TO roomwire_app;

GRANT INSERT(expires_at),UPDATE(expires_at) ON TABLE public.sessions TO roomwire_app;

GRANT UPDATE(revoked_at) ON TABLE public.sessions TO roomwire_app;

GRANT UPDATE(revoked_reason) ON TABLE public.sessions TO roomwire_app;

GRANT INSERT(agent) ON TABLE public.sessions TO roomwire_app;

GRANT INSERT(family),UPDATE(family) ON TABLE public.sessions TO roomwire_app;

GRANT UPDATE(successor) ON TABLE public.sessions TO roomwire_app;

GRANT SELECT ON TABLE public.signing_keys TO roomwire_app;

GRANT INSERT(kid) ON TABLE public.signing_keys TO roomwire_app;

GRANT INSERT(secret) ON TABLE public.signing_keys TO roomwire_app;

GRANT INSERT(active_from) ON TABLE public.signing_keys TO roomwire_app;

GRANT UPDATE(retires_at) ON TABLE public.signing_keys TO roomwire_app;

GRANT INSERT(wrapped),UPDATE(wrapped) ON TABLE public.signing_keys TO roomwire_app;

GRANT SELECT ON TABLE public.users TO roomwire_app;

GRANT INSERT(id) ON TABLE public.users TO roomwire_app;

GRANT INSERT(username) ON TABLE public.users TO roomwire_app;

GRANT INSERT(username_key) ON TABLE public.users TO roomwire_app;

GRANT INSERT(display_name) ON TABLE public.users TO roomwire_app;

GRANT INSERT(password_hash),UPDATE(password_hash) ON TABLE public.users TO roomwire_app;

GRANT UPDATE(disabled_at) ON TABLE public.users TO roomwire_app;

GRANT UPDATE(is_admin) ON TABLE public.users TO roomwire_app;

GRANT UPDATE(password_version) ON TABLE public.users TO roomwire_app;

GRANT UPDATE(one_time_until) ON TABLE public.users TO roomwire_app;

GRANT UPDATE(may_add) ON TABLE public.users TO roomwire_app;
