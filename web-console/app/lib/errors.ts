/** MQTT reason codes [MQTT5-2.4] and CONNACK return codes [MQTT311-3.2.2.3], as people would say them. */
const REASONS: Record<number, string> = {
  0x01: 'The gateway does not speak this version of MQTT.',
  0x02: 'The gateway refused the client identifier.',
  0x03: 'The gateway is not available now.',
  0x04: 'The user name or the password is wrong.',
  0x05: 'The gateway wants an account: enter a user name and a password.',
  0x80: 'The gateway refused this without saying why.',
  0x81: 'The gateway received something that is not MQTT.',
  0x82: 'The gateway says that this breaks the rules of MQTT.',
  0x83: 'The gateway cannot do this.',
  0x84: 'The gateway does not speak MQTT 5.',
  0x85: 'The gateway refused the client identifier.',
  0x86: 'The user name or the password is wrong.',
  0x87: 'This is not allowed. An account with more rights may do it.',
  0x88: 'The gateway is not available now.',
  0x89: 'The gateway is busy. Try again in a moment.',
  0x8b: 'The gateway is shutting down.',
  0x8d: 'The gateway heard nothing from this page for too long.',
  0x8e: 'Another client took over with the same identifier.',
  0x8f: 'This is not a valid topic filter.',
  0x90: 'This is not a valid topic name. It must not hold + or #.',
  0x93: 'More messages are under way than the gateway accepts.',
  0x95: 'The message is larger than the gateway accepts.',
  0x96: 'Messages come faster than the gateway accepts.',
  0x97: 'A quota is used up: the destination or the account is full.',
  0x98: 'The gateway closed this connection by command.',
  0x99: 'The body is not what its format says.',
  0x9a: 'The gateway does not keep retained messages here.',
  0x9b: 'The gateway does not offer this QoS here.',
  0x9e: 'Shared subscriptions are not offered here.',
  0x9c: 'Another node serves this now.',
  0x9d: 'Another node serves this now.',
  0x9f: 'Connections come faster than the gateway accepts.',
  0xa1: 'Subscription identifiers are not offered here.',
  0xa2: 'Wildcards are not offered here.',
}

const code = (cause: unknown): number | undefined => {
  const found = (cause as { code?: unknown } | null)?.code
  return typeof found === 'number' ? found : undefined
}

/** What went wrong, in a sentence. */
export function explain(cause: unknown): string {
  const reason = code(cause)
  if (reason !== undefined && reason !== 0) return REASONS[reason] ?? `The gateway refused this with reason ${reason}.`
  const message = cause instanceof Error ? cause.message : ''
  if (/connack timeout/i.test(message)) return 'The gateway did not answer within 10 seconds.'
  if (/invalid topic/i.test(message)) return 'This is not a valid topic filter.'
  if (/client disconnecting|connection closed/i.test(message)) return 'The connection was lost before the answer came.'
  return 'No connection: nothing answers MQTT over WebSocket at /mqtt here.'
}

/** Whether another account may help: bad user name or password, or not authorised. */
export const needsAccount = (cause: unknown) => [0x04, 0x05, 0x86, 0x87].includes(code(cause) ?? 0)

/** Whether a DISCONNECT with this reason passes by itself: a restart, a busy moment, a silence. */
export const helpsToRetry = (reason: number | undefined) =>
  reason === undefined || [0x00, 0x88, 0x89, 0x8b, 0x8d, 0x96, 0x97, 0x9c, 0x9d, 0x9f].includes(reason)
