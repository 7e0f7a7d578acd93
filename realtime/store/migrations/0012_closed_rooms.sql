-- Appending as in 0008, with one outcome more: room_closed, for a direct room that one of the two has closed, or in which the
-- one blocks the other. Messages are still deleted there. A retry of what was accepted before stays a duplicate.

CREATE OR REPLACE FUNCTION append_batch(
    p_rooms      uuid[],       -- each once
    p_room_nos   integer[],    -- of each entry: the position of its room in p_rooms, from 1
    p_actors     uuid[],
    p_kinds      text[],
    p_client_ids text[],
    p_targets    bigint[],
    p_bodies     text[],
    p_max_edits  integer       -- of one message
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
SET plan_cache_mode = force_generic_plan
SET jit = off
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
