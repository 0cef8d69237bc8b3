-- A queue's messages of another priority than 4 are kept under an id of their own: bits 56 to 59 are the
-- priority plus one. The view shows them as messages of the queue.
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
WHERE (ranges.settled IS NULL OR NOT t.seq <@ ranges.settled)
  AND (c.generation IS NULL OR t.seq <@ kept.live);
