import type { Overview } from './overview'
import { rates, sameRun, type Rates } from './rates'

/** Rows asked for in each list. A browser draws so many each second with ease. */
const ROWS = 250
/** Two minutes. */
const HISTORY = 120
const SILENCE_MS = 5_000
const RETRY_MS = 1_000
const FILTER_MS = 300

/** A moment in the charts; null where the gateway was not heard. */
export type Moment = { published: number; delivered: number } | null

/** The live stream from the gateway, kept up by reconnecting for ever. */
export class Feed {
  overview = $state.raw<Overview | null>(null)
  rates = $state.raw<Rates | null>(null)
  history = $state.raw<Moment[]>([])
  link = $state<'connecting' | 'live' | 'lost'>('connecting')

  #filters = { destinations: '', connections: '' }
  #source: EventSource | null = null
  #silence: ReturnType<typeof setTimeout> | undefined
  #retry: ReturnType<typeof setTimeout> | undefined

  start() {
    this.#open()
    return () => this.#close()
  }

  /** The gateway sends only some rows, so it has to know what is looked for. */
  filter(list: 'destinations' | 'connections', text: string) {
    if (this.#filters[list] === text) return
    this.#filters[list] = text
    clearTimeout(this.#retry)
    this.#retry = setTimeout(() => this.#open(), FILTER_MS)
  }

  #open() {
    this.#close()
    const query = new URLSearchParams({ limit: String(ROWS), ...this.#filters })
    const source = new EventSource(`/api/live?${query}`)
    this.#source = source
    source.onmessage = (event: MessageEvent<string>) => this.#take(JSON.parse(event.data) as Overview)
    source.onerror = () => this.#lost()
    this.#expectSoon()
  }

  #close() {
    this.#source?.close()
    this.#source = null
    clearTimeout(this.#silence)
    clearTimeout(this.#retry)
  }

  #take(now: Overview) {
    const before = this.overview
    const joined = sameRun(before, now)
    this.rates = rates(before, now)
    this.overview = now
    if (joined) {
      const moment = this.link === 'lost' ? null : { published: this.rates.published, delivered: this.rates.delivered }
      this.history = [...this.history, moment].slice(-HISTORY)
    } else if (before) {
      this.history = [...this.history, null].slice(-HISTORY)
    }
    this.link = 'live'
    this.#expectSoon()
  }

  /** A stream that falls silent is as lost as one that fails: a dead network says nothing. */
  #expectSoon() {
    clearTimeout(this.#silence)
    this.#silence = setTimeout(() => this.#lost(), SILENCE_MS)
  }

  #lost() {
    this.#close()
    this.link = 'lost'
    this.#retry = setTimeout(() => this.#open(), RETRY_MS)
  }
}
