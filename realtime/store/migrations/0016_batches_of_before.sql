-- Nodes of the version before go on calling append_batch. Since 0014 the index of client ids is one of rows that have one, and over a
-- table without statistics the primary key looked cheaper there too: as in append_entries (0015), the index that finds fewer rows.

ALTER FUNCTION append_batch(uuid[], integer[], uuid[], text[], text[], bigint[], text[], integer) SET random_page_cost = 0;
ALTER FUNCTION append_batch(uuid[], integer[], uuid[], text[], text[], bigint[], text[], integer) SET cpu_index_tuple_cost = 1;
