CREATE SCHEMA IF NOT EXISTS evergate;

CREATE TABLE evergate.schema_version (version int NOT NULL);
INSERT INTO evergate.schema_version VALUES (0);

-- Parent of the ring tables message_0, message_1, ...; empty itself. A row packs messages of one commit:
-- the n-th elements of the arrays belong together. The target arrays name, for each queue that holds a
-- message, the message (counted from 1), the queue and the place there.
CREATE TABLE evergate.message (
    id bigint NOT NULL,
    generation bigint NOT NULL,
    message_ids bigint[] NOT NULL,
    flags smallint[] NOT NULL,          -- 1 durable, 2 topic
    encodings smallint[] NOT NULL,
    priorities smallint[] NOT NULL,
    expires bigint[] NOT NULL,
    ingress bigint[] NOT NULL,
    sizes bigint[] NOT NULL,
    target_messages int[] NOT NULL,
    target_queues bigint[] NOT NULL,
    target_seqs bigint[] NOT NULL,
    addresses bytea[] NOT NULL,
    annotations bytea[] NOT NULL,
    heads bytea[] NOT NULL,
    bodies bytea[] NOT NULL
);

-- Parent of settled_0, settled_1, ...: one row a commit. Mark number -1 stands for every mark of the queue.
CREATE TABLE evergate.settled (
    id bigint NOT NULL,
    generation bigint NOT NULL,
    queues bigint[] NOT NULL,
    firsts bigint[] NOT NULL,
    lasts bigint[] NOT NULL,
    mark_queues bigint[] NOT NULL,
    mark_numbers bigint[] NOT NULL,
    mark_sets boolean[] NOT NULL
);

-- Never compressed: bodies rarely shrink, and it would cost half the rate.
DO $$
DECLARE found record;
BEGIN
    FOR found IN
        SELECT attrelid::regclass AS name, attname FROM pg_attribute
        WHERE attrelid IN ('evergate.message'::regclass, 'evergate.settled'::regclass)
          AND attnum > 0 AND attndims > 0
    LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STORAGE EXTERNAL', found.name, found.attname);
    END LOOP;
END $$;

-- What each pair of ring tables holds now. NULL: nothing; rows left in it are void.
CREATE TABLE evergate.ring (slot int PRIMARY KEY, generation bigint, first_id bigint NOT NULL);

-- The places of a generation that were live when settled rows were dropped; without a row, all were.
CREATE TABLE evergate.checkpoint (
    generation bigint PRIMARY KEY,
    queues bigint[] NOT NULL,
    firsts bigint[] NOT NULL,
    lasts bigint[] NOT NULL
);

-- The marks as they were when settled rows up to `settled_id` were dropped. One row.
CREATE TABLE evergate.mark_checkpoint (
    settled_id bigint NOT NULL,
    queues bigint[] NOT NULL,
    numbers bigint[] NOT NULL
);
INSERT INTO evergate.mark_checkpoint VALUES (0, '{}', '{}');

-- A number above every place of the queue whose messages may be gone.
CREATE TABLE evergate.queue (id bigint PRIMARY KEY, next_seq bigint NOT NULL);

CREATE TABLE evergate.state (kind smallint NOT NULL, key bytea NOT NULL, value bytea NOT NULL, PRIMARY KEY (kind, key));

-- Live messages, one row a queue that holds it. `queue` is the queue's name: the core keeps it as JSON.
CREATE VIEW evergate.live AS
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
SELECT convert_from(q.value, 'UTF8')::json ->> 'name' AS queue, t.queue AS queue_id, t.seq, m.message_ids[t.n] AS message_id,
       CASE WHEN m.flags[t.n] & 2 = 2 THEN '/topic/' ELSE '/queue/' END
           || convert_from(m.addresses[t.n], 'UTF8') AS address,
       m.flags[t.n] & 1 = 1 AS durable, m.priorities[t.n] AS priority,
       to_timestamp(m.ingress[t.n] / 1000.0) AS ingress, to_timestamp(m.expires[t.n] / 1000.0) AS expires_at,
       (ARRAY['plain', 'amqp10', 'mqtt5', 'stomp'])[m.encodings[t.n] + 1] AS encoding,
       m.sizes[t.n] AS size_bytes, m.heads[t.n] AS head, m.bodies[t.n] AS body
FROM evergate.message m
JOIN evergate.ring USING (generation)
CROSS JOIN LATERAL unnest(m.target_messages, m.target_queues, m.target_seqs) AS t (n, queue, seq)
LEFT JOIN evergate.state q ON q.kind = 1 AND q.key = convert_to(t.queue::text, 'UTF8')
LEFT JOIN ranges ON ranges.queue = t.queue
LEFT JOIN evergate.checkpoint c ON c.generation = m.generation
LEFT JOIN kept ON kept.generation = m.generation AND kept.queue = t.queue
WHERE (ranges.settled IS NULL OR NOT t.seq <@ ranges.settled)
  AND (c.generation IS NULL OR t.seq <@ kept.live);
