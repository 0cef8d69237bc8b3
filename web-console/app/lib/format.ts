const grouped = new Intl.NumberFormat('en-GB')
const short = new Intl.NumberFormat('en-GB', { notation: 'compact', maximumFractionDigits: 1 })
const fine = new Intl.NumberFormat('en-GB', { maximumFractionDigits: 1 })

/** 12,345 or, from ten million, 12.3M. */
export const count = (value: number) => (value < 10_000_000 ? grouped : short).format(value)

/** A number each second: 0, 0.4, 7.5, 12, 1,234. */
export const rate = (value: number) => (value < 10 ? fine : grouped).format(value < 10 ? value : Math.round(value))

export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit += 1
  }
  return `${value < 10 && unit > 0 ? fine.format(value) : grouped.format(Math.round(value))} ${units[unit]}`
}

/** 45 s, 3 min 20 s, 5 h 2 min, 12 d 4 h. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  const minutes = Math.floor(seconds / 60)
  const hours = Math.floor(minutes / 60)
  const days = Math.floor(hours / 24)
  if (days > 0) return `${days} d ${hours % 24} h`
  if (hours > 0) return `${hours} h ${minutes % 60} min`
  if (minutes > 0) return `${minutes} min ${seconds % 60} s`
  return `${seconds} s`
}

/** 0.4 ms, 12 ms, 1.5 s. */
export function milliseconds(seconds: number): string {
  return seconds >= 1 ? `${fine.format(seconds)} s` : `${fine.format(seconds * 1000)} ms`
}

export const clock = (date: Date) => date.toLocaleTimeString('en-GB')
