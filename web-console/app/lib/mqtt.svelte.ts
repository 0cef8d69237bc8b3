import type { IClientPublishOptions, MqttClient } from 'mqtt'
import { explain, helpsToRetry, needsAccount } from './errors'
import { received, type Received } from './message'

const MESSAGES_MAX = 100
const RETRY_MS = 2_000

export type Qos = 0 | 1 | 2
export type Link = 'off' | 'connecting' | 'connected' | 'lost'

export interface Publication {
  topic: string
  body: string
  qos: Qos
  retain: boolean
  contentType: string
  properties: Record<string, string | string[]>
}

/** An MQTT 5 client in the page, over WebSocket on the port that served the page. */
export class TryMe {
  link = $state<Link>('off')
  error = $state('')
  /** The gateway refused an anonymous client, or this account. */
  asksForAccount = $state(false)
  subscriptions = $state<{ filter: string; qos: Qos }[]>([])
  messages = $state.raw<Received[]>([])
  count = $state(0)

  #client: MqttClient | null = null
  #connecting: Promise<void> | null = null
  /** Ends what waits for an answer when the connection is given up; MQTT.js would leave it waiting. */
  #ended = new AbortController()

  /** Connects unless connected; fails with a sentence for people. */
  connect(user: string, password: string): Promise<void> {
    // While a lost connection is being restored, MQTT.js keeps what is asked of it.
    if (this.link === 'connected' || this.link === 'lost') return Promise.resolve()
    this.#connecting ??= this.#open(user, password).finally(() => (this.#connecting = null))
    return this.#connecting
  }

  disconnect() {
    this.#client?.end(true)
    this.#client = null
    this.#ended.abort()
    this.#ended = new AbortController()
    this.link = 'off'
    this.subscriptions = []
    this.error = ''
  }

  async #open(user: string, password: string): Promise<void> {
    this.disconnect()
    this.link = 'connecting'
    // Loaded only here: it is larger than the rest of the console.
    const { default: mqtt } = await import('mqtt')
    const client = mqtt.connect(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/mqtt`, {
      protocolVersion: 5,
      clientId: `console-${crypto.getRandomValues(new Uint32Array(1))[0]?.toString(36)}`,
      clean: true,
      properties: { sessionExpiryInterval: 0 },
      username: user || undefined,
      password: user ? password : undefined,
      connectTimeout: 10_000,
      reconnectPeriod: RETRY_MS,
      // A timer in a worker is made from a blob, which the page's policy forbids.
      timerVariant: 'native',
    })
    this.#client = client

    client.on('message', (topic, payload, packet) => {
      this.count += 1
      this.messages = [received(this.count, topic, payload, packet), ...this.messages].slice(0, MESSAGES_MAX)
    })

    return new Promise((resolve, reject) => {
      // The first connection is not tried again when it fails: someone has to change something. Neither is one whose
      // account is refused later.
      const giveUp = (cause: unknown) => {
        if (this.#client !== client) return
        this.disconnect()
        this.error = explain(cause)
        this.asksForAccount ||= needsAccount(cause)
        reject(new Error(this.error))
      }
      client.on('connect', () => {
        this.link = 'connected'
        this.error = ''
        resolve()
      })
      client.on('close', () => {
        if (this.#client !== client) return
        if (this.link === 'connecting') giveUp(null)
        else this.link = 'lost'
      })
      client.on('error', (cause) => {
        if (this.link === 'connecting' || needsAccount(cause)) giveUp(cause)
      })
      client.on('disconnect', ({ reasonCode }) => {
        if (this.#client !== client) return
        if (helpsToRetry(reasonCode)) this.error = explain({ code: reasonCode })
        // What the gateway objects to would only be sent again.
        else giveUp({ code: reasonCode })
      })
    })
  }

  /** The answer, or a sentence that says why there is none. */
  #answer<T>(answer: Promise<T>): Promise<T> {
    const { signal } = this.#ended
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(new Error(this.error || 'Disconnected before the answer came.')))
      answer.then(resolve, (cause: unknown) => reject(new Error(explain(cause))))
    })
  }

  async subscribe(filter: string, qos: Qos) {
    if (!this.#client) return
    await this.#answer(this.#client.subscribeAsync(filter, { qos }))
    this.subscriptions = [...this.subscriptions.filter((one) => one.filter !== filter), { filter, qos }]
  }

  async unsubscribe(filter: string) {
    this.subscriptions = this.subscriptions.filter((one) => one.filter !== filter)
    await this.#client?.unsubscribeAsync(filter).catch(() => {
      // Gone with the connection.
    })
  }

  /** Publishes; the sentence says how it went. */
  async publish(message: Publication): Promise<string> {
    const client = this.#client
    if (!client) return ''
    // MQTT.js would send it, and the gateway would have to hang up. [MQTT-3.3.2-2]
    if (/[+#\0]/.test(message.topic)) throw new Error(explain({ code: 0x90 }))
    const options: IClientPublishOptions = {
      qos: message.qos,
      retain: message.retain,
      properties: {
        ...(message.contentType ? { contentType: message.contentType } : {}),
        ...(Object.keys(message.properties).length ? { userProperties: message.properties } : {}),
      },
    }
    const start = performance.now()
    const answer = await this.#answer(client.publishAsync(message.topic, message.body, options))
    if (message.qos === 0) return 'Sent. With QoS 0 there is no confirm.'
    const took = `${(performance.now() - start).toFixed(1)} ms`
    // 0x10: no matching subscribers. [MQTT-3.4.2.1]
    const alone = (answer as { reasonCode?: number } | undefined)?.reasonCode === 0x10
    return alone ? `Confirmed after ${took}. Nobody is subscribed to this topic.` : `Confirmed after ${took}.`
  }

  clear() {
    this.messages = []
    this.count = 0
  }
}
