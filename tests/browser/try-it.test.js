// The panel in which the page is an MQTT client.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { launch, messages, open, openConsole, publish, subscribe, until } from './browser.js'
import { startGateway } from './gateway.js'

let gateway
let browser
before(async () => {
  gateway = await startGateway()
  browser = await launch()
})
after(async () => {
  await browser?.close()
  await gateway?.stop()
})

test('the page publishes and receives its own message with its properties', async () => {
  const page = await openConsole(browser, gateway)
  await page.getByTestId('mqtt-state').getByText('Not connected').waitFor()
  await subscribe(page, 'shop/#')
  await page.getByTestId('mqtt-state').getByText('Connected', { exact: true }).waitFor()
  await page.getByText('Properties', { exact: true }).click()
  await page.getByLabel('Content type').fill('text/plain')
  await page.getByLabel(/User properties/).fill('region: eu\nregion: uk')
  await publish(page, 'shop/grüße', 'hello from the page')
  await page.getByTestId('published').getByText(/^Confirmed after/).waitFor()
  await messages(page).first().waitFor()
  const shown = await messages(page).first().innerText()
  for (const part of ['shop/grüße', 'hello from the page', 'QoS 1', 'text/plain', 'eu', 'uk']) {
    assert.ok(shown.includes(part), `${part} in ${shown}`)
  }
  await page.getByRole('button', { name: 'Disconnect' }).click()
  await page.getByTestId('mqtt-state').getByText('Not connected').waitFor()
  assert.deepEqual(page.errors, [])
  await page.context().close()
})

test('the page receives what another client publishes, text, binary and empty', async () => {
  const page = await openConsole(browser, gateway)
  await subscribe(page, 'shop/in/#')
  const client = await gateway.client()
  await client.publishAsync('shop/in/text', '<b>not markup</b>', { qos: 1 })
  await client.publishAsync('shop/in/binary', Buffer.from([0, 255, 16]), { qos: 1 })
  await client.publishAsync('shop/in/empty', '', { qos: 0 })
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
  const page = await openConsole(browser, gateway)
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
  await page.goto(gateway.http)
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
  await page.goto(gateway.http)
  await publish(page, 'a/b', 'large')
  await page.getByText('The message is larger than the gateway accepts.').first().waitFor()
  await page.getByTestId('mqtt-state').getByText('Not connected').waitFor()
  await new Promise((resolve) => setTimeout(resolve, 3000))
  assert.equal(publishes, 1)
  assert.ok(await page.getByRole('button', { name: 'Publish', exact: true }).isEnabled())
  await page.context().close()
})
