/**
 * The schema, as a list of steps: each is run once, in order, and never changed after a release.
 * Times are ms since the epoch. Only `upgrade` runs them: a server never alters tables.
 */

/** The schemas that this version reads: from the first to the last of them. */
export const OLDEST_SCHEMA = 1;

export const MIGRATIONS: readonly string[] = [
  `
CREATE DOMAIN latchkey.id4 AS bigint CHECK (VALUE BETWEEN 0 AND 4294967295);

-- 27 bits, as many as a cursor of the key feed has for it. Another one, and all cursors start over.
CREATE FUNCTION latchkey.draw_incarnation() RETURNS integer LANGUAGE sql AS 'SELECT 1 + floor(random() * 134217727)::integer';

-- One row. Every write locks it first, which puts writes in order; hardly any write changes it.
CREATE TABLE latchkey.registry (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  id uuid NOT NULL,
  schema integer NOT NULL,
  epoch integer NOT NULL DEFAULT 1,
  lost text,
  metadata_version bigint NOT NULL DEFAULT 1,
  key_feed_incarnation integer NOT NULL DEFAULT latchkey.draw_incarnation(),
  audit_start_seq bigint NOT NULL DEFAULT 0,
  audit_start_hash bytea NOT NULL DEFAULT '\\x0000000000000000000000000000000000000000000000000000000000000000');
INSERT INTO latchkey.registry (id, schema) VALUES (gen_random_uuid(), 1);

-- \`body\` is text, since the hash is over its octets.
CREATE TABLE latchkey.audit (seq bigint PRIMARY KEY, at bigint NOT NULL, hash bytea NOT NULL, previous bytea NOT NULL, body text NOT NULL);

CREATE TABLE latchkey.metadata (name text PRIMARY KEY, version bigint NOT NULL, value jsonb NOT NULL);

CREATE TABLE latchkey.controllers (
  id latchkey.id4 PRIMARY KEY, version bigint NOT NULL,
  sk_cs bytea NOT NULL, staged_sk_cs bytea, nid_host text NOT NULL, nid_port integer NOT NULL, servers jsonb NOT NULL,
  added_at bigint NOT NULL, pass_through boolean NOT NULL, switched_at bigint, pass_through_entry bigint, assigning bigint, description jsonb);

CREATE TABLE latchkey.orders (
  number bigint PRIMARY KEY, version bigint NOT NULL,
  kind text NOT NULL CHECK (kind IN ('order', 'import')),
  state text NOT NULL CHECK (state IN ('pending', 'open', 'suspended', 'closed')),
  installer text NOT NULL, contact text, site text, site_searched text, controller latchkey.id4, count integer NOT NULL, shared_key boolean NOT NULL, manufacturer text,
  lifetime bigint NOT NULL, grace bigint NOT NULL, join_from bigint, join_until bigint,
  created_at bigint NOT NULL, created_entry bigint NOT NULL, entry bigint NOT NULL);

-- No index on what a renewal changes, and room in each page: its row is updated in place.
CREATE TABLE latchkey.nodes (
  id latchkey.id4 PRIMARY KEY, version bigint NOT NULL,
  key bytea NOT NULL, initial boolean NOT NULL, ik bytea NOT NULL,
  controller latchkey.id4 NOT NULL, order_number bigint NOT NULL, entry bigint NOT NULL,
  disabled boolean NOT NULL, lifetime bigint, grace bigint,
  joined_at bigint, reset_at bigint, initial_key_issued_at bigint, reissued_at bigint, seen_by jsonb,
  split boolean NOT NULL, half bytea, manufacturer text,
  committed_by latchkey.id4, committed_tid text, committed_ts bigint, committed_nid bytea, committed_lifetime bigint, committed_at bigint,
  assigned_entry bigint, initial_key_entry bigint, former_holders jsonb
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX nodes_of_order ON latchkey.nodes (order_number);
CREATE INDEX nodes_of_controller ON latchkey.nodes (controller, id);

-- What people call a node. A table of its own: a join reads and writes the row of the node only.
-- \`searched\`: all of its texts as a search compares them, whatever the locale of the database.
CREATE TABLE latchkey.node_descriptions (
  id latchkey.id4 PRIMARY KEY, name text, site text, location text, tags jsonb, note text, entry bigint NOT NULL, searched text NOT NULL);
CREATE INDEX node_descriptions_of_site ON latchkey.node_descriptions (site);
CREATE INDEX node_descriptions_with_tag ON latchkey.node_descriptions USING gin (tags);

CREATE TABLE latchkey.former_assignments (
  node latchkey.id4, controller latchkey.id4, until_entry bigint, tid text, PRIMARY KEY (node, controller));

CREATE TABLE latchkey.key_feed_walks (
  controller latchkey.id4 PRIMARY KEY, walk bigint NOT NULL, tid text NOT NULL, at bigint NOT NULL,
  start_entry bigint NOT NULL, order_number bigint);

CREATE TABLE latchkey.recent_initial_keys (node latchkey.id4 PRIMARY KEY, keys jsonb NOT NULL);

CREATE TABLE latchkey.retired_initial_keys (
  entry bigint, id latchkey.id4, node latchkey.id4 NOT NULL, ik bytea NOT NULL, order_number bigint NOT NULL,
  issued_at bigint NOT NULL, retired_at bigint NOT NULL, joined boolean NOT NULL, manufacturer text,
  seen_by jsonb NOT NULL, holders jsonb NOT NULL, issue_entry bigint NOT NULL, PRIMARY KEY (entry, id));

CREATE TABLE latchkey.node_activity (
  id latchkey.id4, unknown boolean, activity jsonb NOT NULL, PRIMARY KEY (unknown, id)) WITH (fillfactor = 70);
CREATE TABLE latchkey.controller_activity (id latchkey.id4 PRIMARY KEY, activity jsonb NOT NULL) WITH (fillfactor = 70);

CREATE TABLE latchkey.servers (
  id uuid PRIMARY KEY, name text NOT NULL, version text NOT NULL, schema_from integer NOT NULL, schema_to integer NOT NULL,
  started_at bigint NOT NULL, seen_at bigint NOT NULL, beat bigint NOT NULL, monotonic double precision NOT NULL,
  watching boolean NOT NULL) WITH (fillfactor = 50);

-- For people: IDs in hex, and no keys.
CREATE VIEW latchkey.node_list AS
  SELECT lpad(to_hex(n.id), 8, '0') AS id, lpad(to_hex(n.controller), 8, '0') AS controller, n.order_number, o.installer,
    CASE WHEN n.disabled THEN 'disabled' WHEN n.committed_at IS NULL THEN 'enrolled'
      WHEN n.committed_lifetime > 0 AND n.committed_ts + 1000 * n.committed_lifetime < extract(epoch FROM now()) * 1000 THEN 'expired'
      ELSE 'joined' END AS state,
    to_timestamp(n.joined_at / 1000.0) AS joined_at, to_timestamp(n.committed_at / 1000.0) AS committed_at,
    CASE WHEN n.committed_lifetime > 0
      THEN to_timestamp((n.committed_ts + 1000 * n.committed_lifetime) / 1000.0) END AS expires_at
  FROM latchkey.nodes n JOIN latchkey.orders o ON o.number = n.order_number AND o.state <> 'pending';
CREATE VIEW latchkey.audit_log AS
  SELECT seq, (body::jsonb->>'at')::timestamptz AS at, body::jsonb->>'actor' AS actor, body::jsonb->>'what' AS what,
    body::jsonb->>'node' AS node, body::jsonb->>'controller' AS controller, body::jsonb AS entry FROM latchkey.audit;
`,
];

export const NEWEST_SCHEMA: number = MIGRATIONS.length;
