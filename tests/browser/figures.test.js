// What the console shows of a gateway at work.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { accessible, figure, launch, openConsole, rowOf, tableOf, until } from './browser.js'
import { startGateway } from './gateway.js'

let gateway
let browser
before(async () => {
  gateway = await startGateway('[limits]\nqueue_messages_max = 20\n')
  browser = await launch()
})
after(async () => {
  await browser?.close()
  await gateway?.stop()
})

test('the header says what runs and for how long, each second', async () => {
  const page = await openConsole(browser, gateway)
  const header = await page.getByRole('banner').innerText()
  assert.match(header, /Version\s+\d+\.\d+\.\d+/)
  assert.match(header, /Journal\s+SQLite/)
  const uptime = () => page.getByTestId('uptime').innerText()
  for (let second = 0; second < 3; second += 1) {
    const before = await uptime()
    await until('the uptime moves', async () => (await uptime()) !== before, 10)
  }
  assert.deepEqual(page.errors, [])
  await page.context().close()
})

test('rows are live and rates move while messages flow', async () => {
  const client = await gateway.client({ clientId: 'flow' })
  await client.subscribeAsync('flow/orders', { qos: 1 })
  let received = 0
  client.on('message', () => (received += 1))
  let flowing = true
  const flow = (async () => {
    while (flowing) {
      await client.publishAsync('flow/orders', 'a message', { qos: 1 })
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  })()
  const page = await openConsole(browser, gateway)
  try {
    await until('the publish rate moves', async () => (await figure(page, 'publish-rate')) > 5)
    await until('the deliver rate moves', async () => (await figure(page, 'deliver-rate')) > 5)
    const first = await figure(page, 'publish-total')
    await until('the total rises each second', async () => (await figure(page, 'publish-total')) > first, 10)
    for (const [table, protocol] of [['Connections', 'MQTT 5'], ['Destinations', 'MQTT session']]) {
      const row = rowOf(page, table, 'flow')
      await row.waitFor()
      assert.ok((await row.innerText()).includes(protocol))
      await until(`a row of ${table} shows its rates`, async () => (await rates(row)).every((rate) => rate > 5))
    }
    assert.ok(received > 0)
  } finally {
    flowing = false
    await flow
    await client.endAsync()
  }
  await until('the rate falls again', async () => (await figure(page, 'publish-rate')) < 5)
  await rowOf(page, 'Connections', 'flow').waitFor({ state: 'detached' })
  assert.deepEqual(page.errors, [])
  await page.context().close()
})

/** What a row shows under In /s and Out /s. */
async function rates(row) {
  const titles = await row.locator('xpath=ancestor::table').getByRole('columnheader').allInnerTexts()
  const cells = await row.locator('th, td').allInnerTexts()
  // None of them while the row is away.
  return ['In /s', 'Out /s'].map((title) => Number(cells[titles.findIndex((one) => one.startsWith(title))]?.replaceAll(',', '')))
}

test('a publisher that the gateway holds back is pointed out', async () => {
  const publisher = await gateway.client({ clientId: 'eager' })
  let pushing = true
  const push = (async () => {
    while (pushing) await publisher.publishAsync('$queue/full', 'a message', { qos: 1 })
  })()
  const page = await openConsole(browser, gateway, { bypassCSP: true })
  await rowOf(page, 'Connections', 'eager').getByText('blocked').waitFor()
  await page.getByText('1 blocked').waitFor()
  await accessible(page)
  assert.match(await rowOf(page, 'Destinations', 'full').innerText(), /Queue/)

  // The publisher goes on as soon as somebody takes the messages.
  const consumer = await gateway.client({ clientId: 'helper' })
  await consumer.subscribeAsync('$queue/full', { qos: 1 })
  pushing = false
  await push
  await rowOf(page, 'Connections', 'eager').getByText('running').waitFor()
  await page.getByText('1 blocked').waitFor({ state: 'detached' })
  await consumer.endAsync()
  await publisher.endAsync()
  assert.deepEqual(page.errors, [])
  await page.context().close()
})

test('names that the gateway gives are shown as people say them', async () => {
  const client = await gateway.client({ clientId: 'till-1' })
  await client.subscribeAsync(['shop/#', '$share/tills/shop/+/orders'], { qos: 1 })
  const page = await openConsole(browser, gateway)
  await rowOf(page, 'Destinations', 'MQTT session').filter({ hasText: 'till-1' }).waitFor()
  await rowOf(page, 'Destinations', 'Shared subscription').filter({ hasText: 'tills' }).waitFor()
  assert.doesNotMatch(await tableOf(page, 'Destinations').innerText(), /\$/)
  await client.endAsync()
  assert.deepEqual(page.errors, [])
  await page.context().close()
})
