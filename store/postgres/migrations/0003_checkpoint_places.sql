-- A checkpoint also says where each of its runs is stored and how large each message is, so that a restart
-- need not read the message rows: `packs` are the rows' ids, one a run; `sizes` are base-128 numbers, one a
-- place, in the order of the runs; `places` is how many places the generation ever had. NULL: written by
-- an older version, the message rows are read.
ALTER TABLE evergate.checkpoint ADD COLUMN packs bigint[], ADD COLUMN sizes bytea, ADD COLUMN places bigint;
ALTER TABLE evergate.checkpoint
    ALTER COLUMN queues SET STORAGE EXTERNAL,
    ALTER COLUMN firsts SET STORAGE EXTERNAL,
    ALTER COLUMN lasts SET STORAGE EXTERNAL,
    ALTER COLUMN packs SET STORAGE EXTERNAL,
    ALTER COLUMN sizes SET STORAGE EXTERNAL;

-- What was live in rows up to this one was moved to a later generation: they are void.
ALTER TABLE evergate.ring ADD COLUMN moved_id bigint NOT NULL DEFAULT 0;

CREATE OR REPLACE VIEW evergate.live AS
WITH ranges AS (
    SELECT r.queue, range_agg(int8range(r.first, r.last, '[]')) AS settled
    FROM evergate.settled s JOIN evergate.ring USING (generation),
         unnest(s.queues, s.firsts, s.lasts) AS r (queue, first, last)
    GROUP BY r.queue
), kept AS (
    SELECT c.generation, r.queue, range_agg(int8range(r.first, r.last, '[]')) AS live
    FROM evergate.checkpoint c, unnest(c.queues, c.firsts, c.lasts) AS r (queue, first, last)
    GROUP BY c.generation, r.queue
)
SELECT convert_from(q.value, 'UTF8')::json ->> 'name' AS queue, t.queue & 72057594037927935 AS queue_id, t.seq,
       m.message_ids[t.n] AS message_id,
       CASE WHEN m.flags[t.n] & 2 = 2 THEN '/topic/' ELSE '/queue/' END
           || convert_from(m.addresses[t.n], 'UTF8') AS address,
       m.flags[t.n] & 1 = 1 AS durable, m.priorities[t.n] AS priority,
       to_timestamp(m.ingress[t.n] / 1000.0) AS ingress, to_timestamp(m.expires[t.n] / 1000.0) AS expires_at,
       (ARRAY['plain', 'amqp10', 'mqtt5', 'stomp'])[m.encodings[t.n] + 1] AS encoding,
       m.sizes[t.n] AS size_bytes, m.heads[t.n] AS head, m.bodies[t.n] AS body
FROM evergate.message m
JOIN evergate.ring USING (generation)
CROSS JOIN LATERAL unnest(m.target_messages, m.target_queues, m.target_seqs) AS t (n, queue, seq)
LEFT JOIN evergate.state q ON q.kind = 1 AND q.key = convert_to((t.queue & 72057594037927935)::text, 'UTF8')
LEFT JOIN ranges ON ranges.queue = t.queue
LEFT JOIN evergate.checkpoint c ON c.generation = m.generation
LEFT JOIN kept ON kept.generation = m.generation AND kept.queue = t.queue
WHERE m.id > ring.moved_id
  AND (ranges.settled IS NULL OR NOT t.seq <@ ranges.settled)
  AND (c.generation IS NULL OR t.seq <@ kept.live);
