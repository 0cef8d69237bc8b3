// Drives JavaScript clients for the interop tests. Requests and reports are lines of JSON:
//   in   {number, op, client, …}            op: open, subscribe, unsubscribe, publish, close
//   out  {number, result | error}           the answer to that request
//   out  {client, message}                  a message arrived
import { createInterface } from "node:readline";
import { MqttClient } from "./mqtt.mjs";
import { RheaClient } from "./rhea.mjs";
import { StompClient } from "./stomp.mjs";

const KINDS = { "mqttjs-ws": MqttClient, "stompjs-ws": StompClient, rhea: RheaClient, "rhea-ws": RheaClient };
const clients = new Map();

const report = (line) => process.stdout.write(JSON.stringify(line) + "\n");

async function perform(request) {
  if (request.op === "open") {
    const deliver = (message) => report({ client: request.client, message });
    const client = new KINDS[request.kind](request, deliver);
    clients.set(request.client, client);
    return client.open();
  }
  const client = clients.get(request.client);
  if (request.op === "close") clients.delete(request.client);
  return client[request.op](request);
}

createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const request = JSON.parse(line);
    try {
      report({ number: request.number, result: (await perform(request)) ?? null });
    } catch (error) {
      report({ number: request.number, error: String(error?.message ?? error) });
    }
  })
  .on("close", () => process.exit(0));
