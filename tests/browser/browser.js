// A fresh Chromium, and what the tests do on the page.

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { chromium } from 'playwright-core'

// Playwright makes a new profile for each launch.
export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })

/** A new page. Its `errors` are whatever went to the browser's console as an error. */
export async function open(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 }, ...options })
  const page = await context.newPage()
  page.errors = []
  page.on('console', (message) => {
    if (message.type() === 'error') page.errors.push(message.text())
  })
  page.on('pageerror', (error) => page.errors.push(String(error)))
  page.setDefaultTimeout(15_000)
  return page
}

/** The console of the gateway in a new page, with figures in it. */
export async function openConsole(browser, gateway, options) {
  const page = await open(browser, options)
  await page.goto(gateway.http)
  await page.getByTestId('state').getByText('Ready', { exact: true }).waitFor()
  return page
}

/** Waits until `probe` gives something true, and returns it. */
export async function until(what, probe, seconds = 15) {
  const end = Date.now() + seconds * 1000
  for (;;) {
    const found = await probe()
    if (found) return found
    assert.ok(Date.now() < end, `not within ${seconds} s: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

/** The number in a figure of the page. */
export const figure = async (page, id) => Number((await page.getByTestId(id).innerText()).replaceAll(',', ''))

export const tableOf = (page, title) => page.getByRole('region', { name: `${title}, table` })

export const rowOf = (page, title, text) => tableOf(page, title).getByRole('row').filter({ hasText: text })

export async function subscribe(page, filter) {
  await page.getByLabel('Topic filter').fill(filter)
  await page.getByRole('button', { name: 'Subscribe', exact: true }).click()
  await page.getByRole('button', { name: `Unsubscribe from ${filter}` }).waitFor()
}

export async function publish(page, topic, body) {
  await page.getByLabel('Topic', { exact: true }).fill(topic)
  await page.getByLabel('Body').fill(body)
  await page.getByRole('button', { name: 'Publish', exact: true }).click()
}

export const messages = (page) => page.getByRole('region', { name: 'Received messages' }).getByRole('listitem')

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** Fails with what axe finds in the page, which has to be opened with `bypassCSP`. */
export async function accessible(page) {
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() => globalThis.axe.run(document))
  assert.deepEqual(
    violations.map(({ id, nodes }) => ({ id, where: nodes.map((node) => `${node.target} ${node.failureSummary}`) })),
    [],
  )
}
