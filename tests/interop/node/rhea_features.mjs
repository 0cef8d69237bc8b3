// rhea: what its users do beyond sending and receiving. Runs every check below against the gateway at the port
// given as the argument, and writes one line each: the name, and «ok» or the reason.
import assert from "node:assert/strict";
import rhea from "rhea";
import { awaited } from "./common.mjs";

const port = Number(process.argv[2]);
let numbers = 0;

/** A connection that is open. */
async function connect(id) {
  const container = rhea.create_container(id ? { id } : {});
  const connection = container.connect({ host: "127.0.0.1", port, username: "anonymous", reconnect: false });
  await awaited("open", (resolve) => connection.once("connection_open", resolve));
  for (const event of ["disconnected", "session_error", "error"]) connection.on(event, () => {});
  return connection;
}

async function attached(link, kind) {
  await awaited("attach", (resolve, reject) => {
    // A refused link is attached without the gateway's terminus; why comes with the detach.
    const theirs = kind === "receiver" ? "source" : "target";
    link.once(`${kind}_open`, () => link.remote.attach[theirs]?.value !== null && resolve());
    link.once(`${kind}_error`, () => reject(link.error));
  });
  return link;
}

async function send(connection, address, ...messages) {
  const sender = await attached(connection.open_sender(address), "sender");
  for (const message of messages) {
    await awaited("outcome", (resolve, reject) => {
      sender.once("accepted", resolve);
      sender.once("rejected", (context) => reject(context.delivery.remote_state.error));
      sender.send(message);
    });
    sender.removeAllListeners();
  }
  sender.close();
}

/** A receiver, and the bodies that have come to it. */
async function receiver(connection, options) {
  const link = connection.open_receiver({ credit_window: 10, ...options });
  link.bodies = [];
  link.on("message", (context) => link.bodies.push(context.message.body));
  return attached(link, "receiver");
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Waits for so many messages, then a little for one too many. */
async function came(link, expected) {
  for (let waited = 0; link.bodies.length < expected.length && waited < 5000; waited += 20) await pause(20);
  await pause(200);
  assert.deepEqual(link.bodies, expected);
}

async function detached(link, close) {
  await awaited("detach", (resolve) => {
    link.once("receiver_close", resolve);
    link.once("receiver_detached", resolve);
    if (close) link.close();
    else link.detach();
  });
}

const checks = {
  async a_selector_takes_its_messages_and_leaves_the_rest() {
    const connection = await connect();
    const messages = [0, 1, 2, 3].map((body) => ({ body, application_properties: { odd: body % 2 } }));
    await send(connection, "/queue/rhea-selector", ...messages);
    const address = "/queue/rhea-selector";
    const odd = await receiver(connection, { source: { address, filter: rhea.filter.selector("odd = 1") } });
    assert.ok(odd.source.filter["jms-selector"], "in force");
    await came(odd, [1, 3]);
    await detached(odd, true);
    await came(await receiver(connection, { source: address }), [0, 2]);
    connection.close();
  },

  async a_selector_that_is_none_is_refused() {
    const connection = await connect();
    const source = { address: "/queue/rhea-selector", filter: rhea.filter.selector("odd =") };
    await assert.rejects(receiver(connection, { source }), { condition: "amqp:invalid-field" });
    connection.close();
  },

  async copies_are_taken_from_nobody() {
    const connection = await connect();
    await send(connection, "/queue/rhea-copy", { body: "x" });
    const source = { address: "/queue/rhea-copy", distribution_mode: "copy" };
    for (const again of [1, 2]) {
      const browser = await receiver(connection, { source });
      await came(browser, ["x"]);
      await detached(browser, again);
    }
    await came(await receiver(connection, { source: "/queue/rhea-copy" }), ["x"]);
    connection.close();
  },

  async a_durable_subscription_is_kept_and_ended() {
    const source = { address: "/topic/rhea/durable", durable: 2, expiry_policy: "never" };
    const subscribe = async () => {
      const connection = await connect("rhea-durable");
      return [connection, await receiver(connection, { name: "sub", source })];
    };
    const publisher = await connect();
    let [connection, link] = await subscribe();
    await detached(link, false);
    await send(publisher, "/topic/rhea/durable", { body: "meanwhile", durable: true });
    connection.close();
    [connection, link] = await subscribe();
    await came(link, ["meanwhile"]);
    await detached(link, true);
    await send(publisher, "/topic/rhea/durable", { body: "nobody's", durable: true });
    connection.close();
    [connection, link] = await subscribe();
    await came(link, []);
    await detached(link, true);
    connection.close();
    publisher.close();
  },

  async a_shared_subscription_divides_its_messages() {
    const source = { address: "/topic/rhea/shared", capabilities: ["shared", "global"] };
    const links = [];
    for (let count = 0; count < 2; count++) {
      links.push(await receiver(await connect(), { name: `rhea-group|${count}`, source, credit_window: 5 }));
    }
    const publisher = await connect();
    await send(publisher, "/topic/rhea/shared", ...Array.from({ length: 10 }, (_, body) => ({ body })));
    await pause(500);
    assert.equal(links[0].bodies.length + links[1].bodies.length, 10);
    assert.equal(new Set([...links[0].bodies, ...links[1].bodies]).size, 10);
    for (const link of links) link.connection.close();
    publisher.close();
  },

  async a_dynamic_source_takes_the_reply() {
    const [client, server] = [await connect(), await connect()];
    const requests = server.open_receiver("/queue/rhea-requests");
    await attached(requests, "receiver");
    const relay = await attached(server.open_sender({ target: {} }), "sender");
    requests.on("message", ({ message }) =>
      relay.send({ to: message.reply_to, correlation_id: message.message_id, body: `re: ${message.body}` }),
    );
    const replies = await receiver(client, { source: { dynamic: true } });
    await send(client, "/queue/rhea-requests", { message_id: 7, reply_to: replies.source.address, body: "ask" });
    await came(replies, ["re: ask"]);
    client.close();
    server.close();
  },

  async delivery_is_put_off() {
    const connection = await connect();
    const link = await receiver(connection, { source: "/queue/rhea-delay" });
    const annotations = { "x-opt-delivery-delay": 1000 };
    await send(connection, "/queue/rhea-delay", { body: "later", message_annotations: annotations }, { body: "now" });
    await came(link, ["now"]);
    await came(link, ["now", "later"]);
    connection.close();
  },

  async a_consumer_priority_counts() {
    const connection = await connect();
    const links = [];
    for (const priority of [1, 2]) {
      const properties = { "x-opt-consumer-priority": priority };
      links.push(await receiver(connection, { name: `p${numbers++}`, source: "/queue/rhea-priority", properties }));
    }
    await send(connection, "/queue/rhea-priority", { body: 1 }, { body: 2 });
    await came(links[1], [1, 2]);
    assert.deepEqual(links[0].bodies, []);
    connection.close();
  },
};

for (const [name, check] of Object.entries(checks)) {
  let result = "ok";
  try {
    await check();
  } catch (error) {
    result = String(error.message ?? error.description ?? error).replaceAll(/\s+/g, " ");
  }
  console.log(`${name}\t${result}`);
}
process.exit(0);
