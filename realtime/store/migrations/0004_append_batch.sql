-- `append_batch` takes the place of `append_events`: the same judgement, with plans that do not depend on statistics, and
-- one row for an answer. `append_events` stays for nodes of the version before; the next migration may drop it.
--
-- A function's plans are made once a connection, and on a new database they are made over empty tables: then a scan of all
-- events looks cheap, is kept, and every batch reads the whole log. So joins here are index look-ups by decree.

CREATE FUNCTION append_batch(
    p_rooms uuid[], p_actors uuid[], p_kinds text[], p_client_ids text[], p_targets bigint[], p_bodies text[]
) RETURNS TABLE (
    at        timestamptz,     -- of everything accepted
    seqs      bigint[],        -- in the order of the batch; NULL where refused
    outcomes  text[],          -- NULL: all accepted
    first_ats timestamptz[]    -- of duplicates; NULL: there are none
)
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_bitmapscan = off
SET enable_material = off
SET jit = off
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

REVOKE ALL ON FUNCTION append_batch FROM PUBLIC;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'realtime_app') THEN
        GRANT EXECUTE ON FUNCTION append_batch TO realtime_app;
    END IF;
END
$$;
