import type { ConnectionRow, DestinationRow, Overview } from './overview'

/** A row with what changed since the snapshot before, each second. */
export type Rated<T> = T & { in_rate: number; out_rate: number }

export interface RatedConnection extends Rated<ConnectionRow> {
  received_rate: number
  sent_rate: number
}

export interface Rates {
  published: number
  delivered: number
  commits: number
  records: number
  /** Mean time of a commit since the snapshot before; null when there was none. */
  commit_seconds: number | null
  destinations: Rated<DestinationRow>[]
  connections: RatedConnection[]
}

export const destinationKey = (row: DestinationRow) => `${row.kind}:${row.name}`

/** True when both snapshots are of one process, in order. */
export function sameRun(before: Overview | null, now: Overview): before is Overview {
  return (
    before !== null &&
    before.node.started_at_ms === now.node.started_at_ms &&
    before.node.uptime_ms < now.node.uptime_ms
  )
}

/** Rates between two snapshots. Whatever the earlier one does not know has a rate of 0. */
export function rates(before: Overview | null, now: Overview): Rates {
  const known = sameRun(before, now) ? before : null
  const seconds = known ? (now.node.uptime_ms - known.node.uptime_ms) / 1000 : 1
  const rate = (earlier: number | undefined, later: number) =>
    earlier === undefined ? 0 : Math.max(0, later - earlier) / seconds

  const destinations = new Map(known?.destinations.rows.map((row) => [destinationKey(row), row]))
  const connections = new Map(known?.connections.rows.map((row) => [row.id, row]))
  const commits = rate(known?.journal.commits_total, now.journal.commits_total)
  const committing = rate(known?.journal.commit_seconds_sum, now.journal.commit_seconds_sum)

  return {
    published: rate(known?.totals.published, now.totals.published),
    delivered: rate(known?.totals.delivered, now.totals.delivered),
    commits,
    records: rate(known?.journal.messages_total, now.journal.records_total),
    commit_seconds: commits > 0 ? committing / commits : null,
    destinations: now.destinations.rows.map((row) => {
      const earlier = destinations.get(destinationKey(row))
      return {
        ...row,
        in_rate: rate(earlier?.published_total, row.published_total),
        out_rate: rate(earlier?.delivered_total, row.delivered_total),
      }
    }),
    connections: now.connections.rows.map((row) => {
      const earlier = connections.get(row.id)
      return {
        ...row,
        in_rate: rate(earlier?.published_total, row.published_total),
        out_rate: rate(earlier?.delivered_total, row.delivered_total),
        received_rate: rate(earlier?.received_bytes, row.received_bytes),
        sent_rate: rate(earlier?.sent_bytes, row.sent_bytes),
      }
    }),
  }
}
