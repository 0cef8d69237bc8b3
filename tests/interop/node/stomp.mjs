// stompjs, STOMP 1.2 over WebSocket.
import { Client } from "@stomp/stompjs";
import { WebSocket } from "ws";
import { asText, awaited, binary, bytes } from "./common.mjs";

Object.assign(globalThis, { WebSocket });

// Headers of a MESSAGE that are not application properties.
const OWN = [
  "destination",
  "message-id",
  "subscription",
  "ack",
  "content-length",
  "redelivered",
  "delivery-count",
  "timestamp",
];

export class StompClient {
  constructor({ ports }, deliver) {
    this.url = `ws://127.0.0.1:${ports.http}/stomp`;
    this.deliver = deliver;
    this.receipts = 0;
  }

  async open() {
    await awaited("CONNECTED", (resolve, reject) => {
      this.fail = reject;
      this.client = new Client({
        brokerURL: this.url,
        stompVersions: { versions: ["1.2"], protocolVersions: () => ["v12.stomp"], supportedVersions: () => "1.2" },
        reconnectDelay: 0,
        heartbeatIncoming: 0,
        heartbeatOutgoing: 0,
        onConnect: resolve,
        onStompError: (frame) => this.fail(new Error(`${frame.headers.message}: ${frame.body}`)),
        onWebSocketClose: (event) => this.fail(new Error(`closed: ${event.code} ${event.reason}`)),
      });
      this.client.activate();
    });
  }

  /** Does something with a receipt and waits for that. */
  confirmed(act) {
    return awaited("RECEIPT", (resolve, reject) => {
      this.fail = reject;
      const receipt = `r${++this.receipts}`;
      this.client.watchForReceipt(receipt, resolve);
      act(receipt);
    });
  }

  async subscribe({ address, options }) {
    await this.confirmed((receipt) => {
      const deliver = (message) => {
        message.ack();
        this.deliver(received(message));
      };
      this.subscription = this.client.subscribe(address.canonical, deliver, {
        ack: "client-individual",
        receipt,
        ...options,
      });
    });
  }

  async unsubscribe() {
    await this.confirmed((receipt) => this.subscription.unsubscribe({ receipt }));
  }

  async publish({ address, message }) {
    const headers = {};
    const named = {
      "content-type": message.content_type,
      "correlation-id": message.correlation_id,
      "message-id": message.message_id,
      "reply-to": message.reply_to?.canonical ?? null,
      subject: message.subject,
      priority: message.priority,
      expires: message.ttl_seconds === null ? null : Date.now() + message.ttl_seconds * 1000,
      persistent: message.durable ? true : null,
    };
    for (const [name, value] of Object.entries({ ...named, ...message.properties })) {
      if (value !== null) headers[name] = asText(value);
    }
    await this.confirmed((receipt) =>
      this.client.publish({
        destination: address.canonical,
        headers: { ...headers, receipt },
        binaryBody: new Uint8Array(bytes(message.body)),
      }),
    );
  }

  /** Sends messages in a transaction and ends it: how is commit or abort. */
  async transact({ address, messages, how }) {
    const transaction = this.client.begin();
    for (const { body } of messages) {
      const headers = { transaction: transaction.id, persistent: "true" };
      this.client.publish({ destination: address.canonical, body, headers });
    }
    transaction[how]();
    // What follows a COMMIT is answered after it.
    await this.confirmed((receipt) =>
      this.client.publish({ destination: "/topic/interop/after-a-transaction", headers: { receipt } }),
    );
  }

  async close() {
    this.fail = () => {};
    await this.client.deactivate();
  }
}

function received(message) {
  const headers = { ...message.headers };
  const take = (name) => {
    const value = headers[name] ?? null;
    delete headers[name];
    return value;
  };
  const address = headers.destination;
  const redelivered = headers.redelivered === "true";
  for (const name of OWN) delete headers[name];
  const expires = take("expires");
  return {
    body: binary(message.binaryBody),
    address,
    durable: take("persistent") === "true",
    redelivered,
    content_type: take("content-type"),
    correlation_id: take("correlation-id"),
    message_id: take("original-message-id"),
    reply_to: take("reply-to"),
    subject: take("subject"),
    priority: Number(take("priority") ?? 4),
    expires_in_seconds: expires === null ? null : (Number(expires) - Date.now()) / 1000,
    properties: headers,
  };
}
