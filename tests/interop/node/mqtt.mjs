// MQTT.js, version 5, over WebSocket.
import mqtt from "mqtt";
import { asText, binary, bytes } from "./common.mjs";

export class MqttClient {
  constructor({ ports }, deliver) {
    this.url = `ws://127.0.0.1:${ports.http}/mqtt`;
    this.deliver = deliver;
  }

  async open() {
    this.client = await mqtt.connectAsync(this.url, { protocolVersion: 5, reconnectPeriod: 0 });
    this.client.on("message", (topic, payload, packet) => this.deliver(received(topic, payload, packet)));
  }

  async subscribe({ address, options }) {
    const { userProperties } = options ?? {};
    await this.client.subscribeAsync(address.mqtt, { qos: 1, ...(userProperties && { properties: { userProperties } }) });
  }

  async unsubscribe({ address }) {
    await this.client.unsubscribeAsync(address.mqtt);
  }

  async publish({ address, message }) {
    const properties = {};
    if (message.content_type !== null) properties.contentType = message.content_type;
    if (message.correlation_id !== null) properties.correlationData = Buffer.from(message.correlation_id);
    if (message.reply_to !== null) properties.responseTopic = message.reply_to.mqtt;
    if (message.ttl_seconds !== null) properties.messageExpiryInterval = message.ttl_seconds;
    const user = {};
    const named = { "message-id": message.message_id, subject: message.subject, priority: message.priority };
    for (const [name, value] of Object.entries({ ...named, ...message.properties })) {
      if (value !== null) user[name] = asText(value);
    }
    if (Object.keys(user).length) properties.userProperties = user;
    await this.client.publishAsync(address.mqtt, bytes(message.body), { qos: message.durable ? 1 : 0, properties });
  }

  async close() {
    await this.client.endAsync();
  }
}

function received(topic, payload, packet) {
  const properties = packet.properties ?? {};
  const { "message-id": message_id = null, subject = null, priority, ...user } = { ...properties.userProperties };
  return {
    body: binary(payload),
    address: topic,
    durable: packet.qos > 0,
    redelivered: packet.dup,
    content_type: properties.contentType ?? null,
    correlation_id: properties.correlationData ? binary(properties.correlationData) : null,
    message_id,
    reply_to: properties.responseTopic ?? null,
    subject,
    priority: priority === undefined ? null : Number(priority),
    expires_in_seconds: properties.messageExpiryInterval ?? null,
    properties: user,
  };
}
