// The page through the death of its gateway.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { accessible, launch, messages, openConsole, publish, subscribe } from './browser.js'
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

test('the page survives a restart', async () => {
  const page = await openConsole(browser, gateway, { bypassCSP: true })
  await subscribe(page, 'shop/again')
  await gateway.kill()
  await page.getByTestId('state').getByText('No answer').waitFor()
  await page.getByRole('alert').getByText(/does not answer/).waitFor()
  await accessible(page)
  await gateway.start()
  await page.getByTestId('state').getByText('Ready', { exact: true }).waitFor()
  await page.getByTestId('mqtt-state').getByText('Connected', { exact: true }).waitFor()
  await publish(page, 'shop/again', 'after the restart')
  await messages(page).getByText('after the restart').waitFor()
  // While nothing listens the browser itself reports each attempt; anything else is ours.
  const ours = page.errors.filter((text) => !/ERR_|WebSocket connection/.test(text))
  assert.deepEqual(ours, [])
  await page.context().close()
})
