/** What `/api/live` sends; gateway/admin/src/snapshot.rs explains each field. */
export interface Overview {
  ready: { ok: boolean; reason: string | null }
  node: { version: string; started_at_ms: number; uptime_ms: number; journal: string }
  totals: {
    published: number
    delivered: number
    confirmed: number
    settled: number
    rejected: number
    dropped: number
  }
  memory: { used_bytes: number; max_bytes: number }
  journal: {
    commits_total: number
    messages_total: number
    commit_seconds_sum: number
    commit_seconds_max: number
    pending: number
  }
  destinations: Rows<DestinationRow>
  connections: Rows<ConnectionRow>
  connections_blocked: number
}

export interface Rows<T> {
  total: number
  matching: number
  rows: T[]
}

export interface DestinationRow {
  name: string
  kind: 'queue' | 'subscription' | 'session'
  messages: number
  bytes: number
  consumers: number
  unsettled: number
  published_total: number
  delivered_total: number
  settled_total: number
}

export interface ConnectionRow {
  id: number
  protocol: string
  client_id: string
  user: string
  remote: string
  listener: string
  since_ms: number
  published_total: number
  delivered_total: number
  received_bytes: number
  sent_bytes: number
  state: 'running' | 'blocked'
}
