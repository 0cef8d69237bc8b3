// A real gateway: the binary in a temporary directory on free loopback ports. It and its directory go with the process.

import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import mqtt from 'mqtt'

const binary = process.env.EVERGATE_BIN ?? fileURLToPath(new URL('../../target/release/evergate', import.meta.url))
const LISTENERS = ['mqtt', 'amqp', 'stomp', 'http']
const READY_MS = 30_000

const running = new Set()
process.on('exit', () => running.forEach((gateway) => gateway.remove()))
// The test runner ends a file that takes too long with SIGTERM.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))

/** The lines of `evergate.toml` that make an account. */
export function account(name, password) {
  const { status, stdout, stderr } = spawnSync(binary, ['user', 'hash', name], { input: `${password}\n`, encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  return stdout
}

/** Starts a gateway with this `evergate.toml`. */
export async function startGateway(config = '') {
  const ports = await freePorts(LISTENERS.length)
  const gateway = new Gateway(Object.fromEntries(LISTENERS.map((name, i) => [name, ports[i]])), config)
  await gateway.start()
  return gateway
}

/** One gateway. Its ports and its data stay the same when it is killed and started again. */
class Gateway {
  constructor(ports, config) {
    this.ports = ports
    this.http = `http://127.0.0.1:${ports.http}`
    this.mqtt = `mqtt://127.0.0.1:${ports.mqtt}`
    this.directory = mkdtempSync(join(tmpdir(), 'evergate-browser-'))
    writeFileSync(join(this.directory, 'evergate.toml'), config)
    this.clients = []
    running.add(this)
  }

  /** An MQTT 5 client of this gateway. It ends with the gateway at the latest, so that no failed test waits for it. */
  async client(options = {}) {
    const client = await mqtt.connectAsync(this.mqtt, { protocolVersion: 5, ...options })
    this.clients.push(client)
    return client
  }

  /** Starts it and waits until it says that it is ready. */
  async start() {
    const others = Object.entries(process.env).filter(([name]) => !name.startsWith('EVERGATE'))
    const listen = LISTENERS.map((name) => [`EVERGATE__LISTEN__${name.toUpperCase()}`, `127.0.0.1:${this.ports[name]}`])
    const env = Object.fromEntries([...others, ...listen, ['EVERGATE__JOURNAL__URL', `sqlite:${join(this.directory, 'data')}`]])
    const log = openSync(join(this.directory, 'log'), 'a')
    const child = spawn(binary, [], { cwd: this.directory, env, stdio: ['ignore', log, log] })
    closeSync(log)
    this.child = child
    this.ended = new Promise((resolve) => child.once('exit', resolve).once('error', resolve))
    // Until it exits a failed start has neither exit code nor signal.
    let failure
    child.once('error', (error) => (failure = error))
    const end = Date.now() + READY_MS
    while (!(await this.ready())) {
      assert.ok(!failure, `${binary}: ${failure?.message}`)
      assert.ok(child.exitCode === null && child.signalCode === null, `the gateway ended:\n${this.log()}`)
      assert.ok(Date.now() < end, `the gateway was not ready in time:\n${this.log()}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  async ready() {
    return fetch(`${this.http}/health/ready`).then(
      (answer) => answer.ok,
      () => false,
    )
  }

  log() {
    return readFileSync(join(this.directory, 'log'), 'utf8').slice(-4000)
  }

  /** kill -9: no goodbye, no flush. */
  async kill() {
    this.child.kill('SIGKILL')
    await this.ended
  }

  /** Ends it and removes its directory. */
  remove() {
    this.child?.kill('SIGKILL')
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 5 })
    running.delete(this)
  }

  async stop() {
    for (const client of this.clients) client.end(true)
    await this.kill()
    this.remove()
  }
}

/** Ports that nothing listened on a moment ago. */
async function freePorts(count) {
  const servers = await Promise.all(
    Array.from({ length: count }, () => {
      const server = createServer()
      return new Promise((resolve, reject) => {
        server.once('error', reject).listen(0, '127.0.0.1', () => resolve(server))
      })
    }),
  )
  return Promise.all(
    servers.map((server) => {
      const { port } = server.address()
      return new Promise((resolve) => server.close(() => resolve(port)))
    }),
  )
}
