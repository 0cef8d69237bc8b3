// rhea, AMQP 1.0 over TCP and over WebSocket.
import rhea from "rhea";
import { WebSocket } from "ws";
import { awaited, binary, bytes } from "./common.mjs";

export class RheaClient {
  constructor({ kind, ports }, deliver) {
    this.kind = kind;
    this.ports = ports;
    this.deliver = deliver;
  }

  async open() {
    const container = rhea.create_container();
    const options = { reconnect: false };
    if (this.kind === "rhea-ws") {
      const connect = container.websocket_connect(WebSocket);
      options.connection_details = connect(`ws://127.0.0.1:${this.ports.http}/amqp`, ["amqp"], {});
    } else {
      Object.assign(options, { host: "127.0.0.1", port: this.ports.amqp, username: "anonymous" });
    }
    await awaited("open", (resolve, reject) => {
      this.connection = container.connect(options);
      this.connection.once("connection_open", resolve);
      this.connection.once("disconnected", (context) => reject(context.error ?? new Error("disconnected")));
      this.connection.once("connection_error", (context) => reject(context.connection.error));
    });
    // Without listeners rhea throws; a test sees the failure as a missing answer.
    for (const event of ["disconnected", "connection_error", "session_error", "error"]) {
      this.connection.on(event, () => {});
    }
  }

  async subscribe({ address }) {
    await awaited("attach", (resolve, reject) => {
      this.receiver = this.connection.open_receiver({ source: address.canonical, credit_window: 10 });
      this.receiver.once("receiver_open", resolve);
      this.receiver.once("receiver_error", () => reject(this.receiver.error));
      this.receiver.on("message", (context) => this.deliver(received(context.message)));
    });
  }

  async unsubscribe() {
    await awaited("detach", (resolve) => {
      this.receiver.once("receiver_close", resolve);
      this.receiver.close();
    });
  }

  async senderTo(address) {
    if (this.sender?.evergate_address !== address) {
      this.sender?.close();
      await awaited("attach", (resolve, reject) => {
        this.sender = this.connection.open_sender({ target: address });
        this.sender.evergate_address = address;
        this.sender.once("sendable", resolve);
        this.sender.once("sender_error", () => reject(this.sender.error));
      });
    }
    return this.sender;
  }

  async publish({ address, message }) {
    const sender = await this.senderTo(address.canonical);
    const amqp = {
      body: message.text ? bytes(message.body).toString() : rhea.message.data_section(bytes(message.body)),
      durable: message.durable,
    };
    const named = {
      content_type: message.content_type,
      correlation_id: message.correlation_id,
      message_id: message.message_id,
      reply_to: message.reply_to?.canonical ?? null,
      subject: message.subject,
      priority: message.priority,
      ttl: message.ttl_seconds && message.ttl_seconds * 1000,
    };
    for (const [name, value] of Object.entries(named)) if (value !== null) amqp[name] = value;
    if (Object.keys(message.properties).length) amqp.application_properties = message.properties;
    await awaited("disposition", (resolve, reject) => {
      sender.once("accepted", resolve);
      for (const state of ["released", "rejected", "modified"]) {
        sender.once(state, (context) => reject(new Error(`${state}: ${JSON.stringify(context.delivery.remote_state)}`)));
      }
      sender.send(amqp);
    });
    sender.removeAllListeners();
  }

  async close() {
    await awaited("close", (resolve) => {
      this.connection.once("connection_close", resolve);
      this.connection.close();
    });
  }
}

function content(body) {
  if (body === undefined || body === null) return Buffer.alloc(0);
  if (typeof body === "string" || Buffer.isBuffer(body)) return Buffer.from(body);
  if (body.typecode === 0x75) return Buffer.concat([body.content].flat()); // data sections
  throw new Error(`unexpected body ${JSON.stringify(body)}`);
}

function received(message) {
  const correlation = message.correlation_id ?? null;
  return {
    body: binary(content(message.body)),
    address: message.to ?? null,
    durable: message.durable ?? false,
    redelivered: (message.delivery_count ?? 0) > 0,
    content_type: message.content_type ?? null,
    correlation_id: Buffer.isBuffer(correlation) ? binary(correlation) : correlation,
    message_id: message.message_id ?? null,
    reply_to: message.reply_to ?? null,
    subject: message.subject ?? null,
    priority: message.priority ?? 4,
    expires_in_seconds: message.ttl ? message.ttl / 1000 : null,
    properties: { ...message.application_properties },
  };
}
