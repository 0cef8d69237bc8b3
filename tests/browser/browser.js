// A fresh Chromium, and what every test of the console needs.

import assert from 'node:assert/strict'
import { chromium } from 'playwright-core'

export const http = process.env.EVERGATE_HTTP
assert.ok(http, 'EVERGATE_HTTP is the URL of the gateway to test, as http://127.0.0.1:15672')

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

/** The console in a new page. Its `errors` are whatever went to the browser's console as an error. */
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

export async function openConsole(browser, options) {
  const page = await open(browser, options)
  await page.goto(http)
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
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

/** The number in a figure of the page. */
export const figure = async (page, id) => Number((await page.getByTestId(id).innerText()).replaceAll(',', ''))
