import type { DestinationRow } from './overview'

/** A destination as people say it. */
export interface Said {
  name: string
  /** Whose it is, where the gateway's name says so. */
  of: string
  kind: string
}

const plain = (part: string) => {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

/** Queues that clients did not name begin with `$` and say in their name what they are; docs/addresses.md. */
export function said({ name, kind }: DestinationRow): Said {
  const [prefix, first = '', ...more] = name.split('/')
  const rest = more.join('/')
  switch (prefix) {
    case '$session':
      return { name: [first, ...more].join('/'), of: '', kind: 'MQTT session' }
    case '$subscription':
      return { name: plain(rest), of: `of ${plain(first)}`, kind: 'Durable subscription' }
    case '$share':
      return { name: rest, of: `group ${plain(first).replace('|', ', ')}`, kind: 'Shared subscription' }
    case '$temporary':
      return { name: `temporary ${[first, ...more].join('/')}`, of: '', kind: 'Temporary queue' }
    default:
      return { name, of: '', kind: kind.charAt(0).toUpperCase() + kind.slice(1) }
  }
}
