// More rows than the page is sent.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { launch, openConsole, tableOf, until } from './browser.js'
import { startGateway } from './gateway.js'

const QUEUES = 400

let gateway
let browser
before(async () => {
  gateway = await startGateway()
  const client = await gateway.client()
  await Promise.all(Array.from({ length: QUEUES }, (_, i) => client.publishAsync(`$queue/row-${i}`, 'a message', { qos: 1 })))
  await client.endAsync()
  browser = await launch()
})
after(async () => {
  await browser?.close()
  await gateway?.stop()
})

test('tables are sorted and filtered with the keyboard', async () => {
  const page = await openConsole(browser, gateway)
  // The first snapshot may be of before the last of them.
  await page.getByText(new RegExp(`The busiest \\d+ of ${QUEUES}\\.`)).waitFor()
  const table = tableOf(page, 'Destinations')
  const names = () => table.getByRole('rowheader').allInnerTexts()
  const header = table.getByRole('columnheader', { name: 'Name' })
  assert.equal(await header.getAttribute('aria-sort'), 'none')
  await header.getByRole('button').focus()
  await page.keyboard.press('Enter')
  assert.equal(await header.getAttribute('aria-sort'), 'ascending')
  const ascending = await names()
  assert.deepEqual(ascending, [...ascending].sort((a, b) => a.localeCompare(b, 'en')))
  await page.keyboard.press('Space')
  assert.equal(await header.getAttribute('aria-sort'), 'descending')
  assert.deepEqual(await names(), ascending.toReversed())

  // Not among the rows that the page was sent: the gateway has to find it.
  assert.ok(ascending.length < QUEUES && !ascending.includes('row-399'))
  await page.getByText(`The busiest ${ascending.length} of ${QUEUES}.`).waitFor()
  await page.getByLabel('Filter destinations').focus()
  await page.keyboard.type('Row-399')
  await until('one row', async () => (await names()).join() === 'row-399')
  await page.getByLabel('Filter destinations').fill('no such thing')
  await page.getByText(`None of ${QUEUES} matches`).waitFor()
  await page.getByRole('button', { name: 'Show all' }).press('Enter')
  await until('all rows', async () => (await names()).length === ascending.length)
  assert.deepEqual(page.errors, [])
  await page.context().close()
})
