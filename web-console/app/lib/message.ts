import type { IPublishPacket } from 'mqtt'
import { bytes } from './format'

const SHOWN_BYTES_MAX = 4096

/** A message as the page shows it. Of a large body only the beginning is kept. */
export interface Received {
  number: number
  at: Date
  topic: string
  body: string
  /** Why the body does not look as it was sent; empty when it does. */
  note: string
  qos: number
  retain: boolean
  duplicate: boolean
  properties: [string, string][]
}

export function received(number: number, topic: string, payload: Uint8Array, packet: IPublishPacket): Received {
  const { body, note } = shown(payload)
  return {
    number,
    at: new Date(),
    topic,
    body,
    note,
    qos: packet.qos,
    retain: packet.retain,
    duplicate: packet.dup,
    properties: properties(packet),
  }
}

function shown(payload: Uint8Array): { body: string; note: string } {
  if (payload.length === 0) return { body: '', note: 'empty body' }
  const cut = payload.length > SHOWN_BYTES_MAX
  const start = payload.subarray(0, SHOWN_BYTES_MAX)
  const beginning = cut ? `the first ${bytes(SHOWN_BYTES_MAX)} of ${bytes(payload.length)}` : ''
  const text = utf8(start, cut)
  if (text !== null) return { body: text, note: beginning }
  const hex = Array.from(start.subarray(0, 256), (byte) => byte.toString(16).padStart(2, '0')).join(' ')
  return { body: hex, note: `binary, ${bytes(payload.length)}${payload.length > 256 ? ', the first 256 bytes' : ''}` }
}

/** The text, or null when it is not one. A cut may fall inside a character. */
function utf8(start: Uint8Array, cut: boolean): string | null {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(start, { stream: cut })
    return /[\u0000-\u0008\u000e-\u001f]/.test(text) ? null : text
  } catch {
    return null
  }
}

function properties(packet: IPublishPacket): [string, string][] {
  const found: [string, string][] = []
  const given = packet.properties
  if (!given) return found
  if (given.contentType) found.push(['content type', given.contentType])
  if (given.responseTopic) found.push(['response topic', given.responseTopic])
  if (given.correlationData) found.push(['correlation data', utf8(given.correlationData, false) ?? 'binary'])
  if (given.messageExpiryInterval !== undefined) found.push(['expires in', `${given.messageExpiryInterval} s`])
  for (const [name, value] of Object.entries(given.userProperties ?? {})) {
    for (const one of Array.isArray(value) ? value : [value]) found.push([name, one])
  }
  return found
}

/** Properties from lines of `name: value`. Fails with a sentence that names the line. */
export function propertiesFrom(text: string): Record<string, string | string[]> {
  const found: Record<string, string | string[]> = Object.create(null)
  for (const [i, line] of text.split('\n').entries()) {
    if (!line.trim()) continue
    const colon = line.indexOf(':')
    if (colon < 1) throw new Error(`Line ${i + 1} of the properties is not “name: value”.`)
    const name = line.slice(0, colon).trim()
    const value = line.slice(colon + 1).trim()
    const before = found[name]
    found[name] = before === undefined ? value : [...(Array.isArray(before) ? before : [before]), value]
  }
  return found
}
