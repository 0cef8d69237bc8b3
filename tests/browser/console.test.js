// The console in Chromium, against a running gateway: EVERGATE_HTTP (its URL), EVERGATE_MQTT (its MQTT port),
// EVERGATE_RESTART (a command that restarts it and returns; without it that test is skipped).
// EVERGATE_DEMO=1 says that the rows are made up, as by gateway/admin/examples/demo.rs.

import assert from 'node:assert/strict'
import { exec } from 'node:child_process'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import mqtt from 'mqtt'
import { figure, http, launch, open, openConsole, until } from './browser.js'

const demo = Boolean(process.env.EVERGATE_DEMO)
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const name = `browser-test-${process.pid}`

let browser
before(async () => {
  browser = await launch()
})
after(() => browser?.close())

const rowOf = (page, table, text) =>
  page.getByRole('region', { name: `${table}, table` }).getByRole('row').filter({ hasText: text })

const subscribe = async (page, filter) => {
  await page.getByLabel('Topic filter').fill(filter)
  await page.getByRole('button', { name: 'Subscribe', exact: true }).click()
  await page.getByRole('button', { name: `Unsubscribe from ${filter}` }).waitFor()
}

const publish = async (page, topic, body) => {
  await page.getByLabel('Topic', { exact: true }).fill(topic)
  await page.getByLabel('Body').fill(body)
  await page.getByRole('button', { name: 'Publish', exact: true }).click()
}

const messages = (page) => page.getByRole('region', { name: 'Received messages' }).getByRole('listitem')

test('the header says what runs and for how long', async () => {
  const page = await openConsole(browser)
  const header = page.getByRole('banner')
  assert.match(await header.innerText(), /Version\s+\d+\.\d+\.\d+/)
  assert.match(await header.innerText(), /Journal\s+(SQLite|PostgreSQL|memory only)/)
  const start = await page.getByTestId('uptime').innerText()
  await until('the uptime moves', async () => (await page.getByTestId('uptime').innerText()) !== start, 65)
  assert.deepEqual(page.errors, [])
  await page.context().close()
})

test('rows are live and rates move while messages flow', { skip: demo }, async () => {
  const topic = `${name}/orders`
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${process.env.EVERGATE_MQTT}`, {
    clientId: `${name}-client`,
    protocolVersion: 5,
  })
  await client.subscribeAsync(topic, { qos: 1 })
  let received = 0
  client.on('message', () => (received += 1))
  let flowing = true
  const flow = (async () => {
    while (flowing) {
      await client.publishAsync(topic, 'a message', { qos: 1 })
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  })()
  const page = await openConsole(browser)
  try {
    await until('the publish rate moves', async () => (await figure(page, 'publish-rate')) > 5)
    await until('the deliver rate moves', async () => (await figure(page, 'deliver-rate')) > 5)
    const connection = rowOf(page, 'Connections', `${name}-client`)
    await connection.waitFor()
    assert.match(await connection.innerText(), /MQTT/)
    const cells = async () => (await connection.getByRole('cell').allInnerTexts()).map((text) => parseFloat(text.replaceAll(',', '')))
    await until('the connection shows its rates', async () => {
      const [, , , , inRate, outRate] = await cells()
      return inRate > 5 && outRate > 5
    })
    await until('a destination shows a rate', async () =>
      (await page.getByRole('region', { name: 'Destinations, table' }).getByRole('row').allInnerTexts()).some((row) =>
        row.includes(name),
      ),
    )
    assert.ok(received > 0)
  } finally {
    flowing = false
    await flow
    await client.endAsync()
  }
  await until('the rate falls again', async () => (await figure(page, 'publish-rate')) < 5)
  await rowOf(page, 'Connections', `${name}-client`).waitFor({ state: 'detached' })
  assert.deepEqual(page.errors, [])
  await page.context().close()
})

test('figures come each second', { skip: !demo }, async () => {
  const page = await openConsole(browser)
  await until('the publish rate moves', async () => (await figure(page, 'publish-rate')) > 5)
  const first = await figure(page, 'publish-rate')
  await until('it moves again', async () => (await figure(page, 'publish-rate')) !== first, 5)
  assert.deepEqual(page.errors, [])
  await page.context().close()
})

test('tables are sorted and filtered with the keyboard', { skip: !demo }, async () => {
  const page = await openConsole(browser)
  const table = page.getByRole('region', { name: 'Destinations, table' })
  const header = table.getByRole('columnheader', { name: 'Name' })
  assert.equal(await header.getAttribute('aria-sort'), 'none')
  await header.getByRole('button').focus()
  await page.keyboard.press('Enter')
  assert.equal(await header.getAttribute('aria-sort'), 'ascending')
  const names = await table.getByRole('rowheader').allInnerTexts()
  assert.deepEqual(names, [...names].sort((a, b) => a.localeCompare(b, 'en')))
  await page.keyboard.press('Space')
  assert.equal(await header.getAttribute('aria-sort'), 'descending')

  // Not among the rows that the page was sent: the gateway has to find it.
  await page.getByLabel('Filter destinations').fill('Till-399')
  await until('one row', async () => (await table.getByRole('rowheader').allInnerTexts()).join() === 'till-399')
  await page.getByLabel('Filter destinations').fill('no such thing')
  await page.getByText(/None of 400 matches/).waitFor()
  await page.getByRole('button', { name: 'Show all' }).click()
  await until('many rows', async () => (await table.getByRole('rowheader').count()) > 100)
  assert.deepEqual(page.errors, [])
  await page.context().close()
})

test('the page publishes and receives its own message with its properties', async () => {
  const page = await openConsole(browser)
  await page.getByTestId('mqtt-state').getByText('Not connected').waitFor()
  await subscribe(page, `${name}/#`)
  await page.getByTestId('mqtt-state').getByText('Connected', { exact: true }).waitFor()
  await page.getByText('Properties', { exact: true }).click()
  await page.getByLabel('Content type').fill('text/plain')
  await page.getByLabel(/User properties/).fill('region: eu\nregion: uk')
  await publish(page, `${name}/grüße`, 'hello from the page')
  await page.getByTestId('published').getByText(/^Confirmed after/).waitFor()
  await messages(page).first().waitFor()
  const shown = await messages(page).first().innerText()
  for (const part of [`${name}/grüße`, 'hello from the page', 'QoS 1', 'text/plain', 'eu', 'uk']) {
    assert.ok(shown.includes(part), `${part} in ${shown}`)
  }
  await page.getByRole('button', { name: 'Disconnect' }).click()
  await page.getByTestId('mqtt-state').getByText('Not connected').waitFor()
  assert.deepEqual(page.errors, [])
  await page.context().close()
})

test('the page receives what another client publishes, text, binary and empty', async () => {
  const page = await openConsole(browser)
  await subscribe(page, `${name}/in/#`)
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${process.env.EVERGATE_MQTT}`)
  await client.publishAsync(`${name}/in/text`, '<b>not markup</b>', { qos: 1 })
  await client.publishAsync(`${name}/in/binary`, Buffer.from([0, 255, 16]), { qos: 1 })
  await client.publishAsync(`${name}/in/empty`, '', { qos: 0 })
  await until('three messages', async () => (await messages(page).count()) === 3)
  const all = (await messages(page).allInnerTexts()).join('\n')
  for (const part of ['<b>not markup</b>', '00 ff 10', 'binary, 3 B', 'empty body', 'QoS 0']) {
    assert.ok(all.includes(part), `${part} in ${all}`)
  }
  await client.endAsync()
  assert.deepEqual(page.errors, [])
  await page.context().close()
})

test('mistakes are explained', async () => {
  const page = await openConsole(browser)
  await page.getByText('Properties', { exact: true }).click()
  await page.getByLabel(/User properties/).fill('good: one\nbad')
  await publish(page, 'a/b', '')
  await page.getByText('Line 2 of the properties is not “name: value”.').waitFor()
  await page.getByLabel(/User properties/).fill('')
  await publish(page, 'a/#', '')
  await page.getByText('This is not a valid topic name. It must not hold + or #.').waitFor()
  await page.getByLabel('Topic filter').fill('a/#/b')
  await page.getByRole('button', { name: 'Subscribe', exact: true }).click()
  await page.getByText('This is not a valid topic filter.').waitFor()
  await page.context().close()
})

test('an anonymous client that is refused is asked for an account, which is then sent', async () => {
  const page = await open(browser)
  const connects = []
  await page.routeWebSocket(/\/mqtt$/, (socket) => {
    socket.onMessage((bytes) => {
      const packet = Buffer.from(bytes)
      if (packet[0] >> 4 !== 1) return
      connects.push(packet.toString('latin1'))
      // CONNACK with 0x87 (not authorized), then with success.
      socket.send(Buffer.from([0x20, 3, 0, connects.length === 1 ? 0x87 : 0, 0]))
    })
  })
  await page.goto(http)
  assert.equal(await page.getByLabel('Password').count(), 0)
  await page.getByRole('button', { name: 'Connect', exact: true }).click()
  await page.getByRole('alert').getByText(/not allowed/).waitFor()
  await page.getByLabel('User', { exact: true }).fill('anna')
  await page.getByLabel('Password').fill('secret')
  await page.getByRole('button', { name: 'Connect', exact: true }).click()
  await page.getByTestId('mqtt-state').getByText('Connected', { exact: true }).waitFor()
  assert.ok(!connects[0].includes('anna'))
  assert.ok(connects[1].includes('anna') && connects[1].includes('secret'))
  await page.context().close()
})

test('a publish that makes the gateway hang up is explained and not sent again', async () => {
  const page = await open(browser)
  let publishes = 0
  await page.routeWebSocket(/\/mqtt$/, (socket) => {
    socket.onMessage((bytes) => {
      const type = Buffer.from(bytes)[0] >> 4
      if (type === 1) socket.send(Buffer.from([0x20, 3, 0, 0, 0]))
      if (type !== 3) return
      publishes += 1
      // DISCONNECT with 0x95 (packet too large).
      socket.send(Buffer.from([0xe0, 2, 0x95, 0]))
      socket.close()
    })
  })
  await page.goto(http)
  await publish(page, 'a/b', 'large')
  await page.getByText('The message is larger than the gateway accepts.').first().waitFor()
  await page.getByTestId('mqtt-state').getByText('Not connected').waitFor()
  await new Promise((resolve) => setTimeout(resolve, 3000))
  assert.equal(publishes, 1)
  assert.ok(await page.getByRole('button', { name: 'Publish', exact: true }).isEnabled())
  await page.context().close()
})

for (const colorScheme of ['light', 'dark']) {
  for (const width of [1400, 380]) {
    test(`axe finds nothing, ${colorScheme}, ${width} wide`, async () => {
      const page = await openConsole(browser, { colorScheme, viewport: { width, height: 900 }, bypassCSP: true })
      await page.getByRole('button', { name: 'Use an account' }).click()
      await check(page)
      await subscribe(page, `${name}/axe`)
      await page.getByText('Properties', { exact: true }).click()
      await publish(page, `${name}/axe`, 'x')
      await messages(page).first().waitFor()
      await check(page)
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
      assert.equal(wide, 0, 'the page does not scroll sideways')
      await page.context().close()
    })
  }
}

async function check(page) {
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() => globalThis.axe.run(document))
  assert.deepEqual(
    violations.map(({ id, nodes }) => ({ id, where: nodes.map((node) => `${node.target} ${node.failureSummary}`) })),
    [],
  )
}

test('the page survives a restart', { skip: !process.env.EVERGATE_RESTART }, async () => {
  const page = await openConsole(browser, { bypassCSP: true })
  await subscribe(page, `${name}/again`)
  const restart = promisify(exec)(process.env.EVERGATE_RESTART)
  await page.getByTestId('state').getByText('No answer').waitFor()
  await page.getByRole('alert').getByText(/does not answer/).waitFor()
  await check(page)
  await restart
  await page.getByTestId('state').getByText('Ready', { exact: true }).waitFor()
  await page.getByTestId('mqtt-state').getByText('Connected', { exact: true }).waitFor()
  await publish(page, `${name}/again`, 'after the restart')
  await messages(page).getByText('after the restart').waitFor()
  // While nothing listens the browser itself reports each attempt; anything else is ours.
  const ours = page.errors.filter((text) => !/ERR_|WebSocket connection/.test(text))
  assert.deepEqual(ours, [])
  await page.context().close()
})
