// The page for everyone: with axe, in both colour schemes, on a desk and in a hand.

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

for (const colorScheme of ['light', 'dark']) {
  for (const width of [1400, 380]) {
    test(`axe finds nothing, ${colorScheme}, ${width} wide`, async () => {
      const page = await openConsole(browser, gateway, { colorScheme, viewport: { width, height: 900 }, bypassCSP: true })
      await page.getByRole('button', { name: 'Use an account' }).click()
      await accessible(page)
      await subscribe(page, 'shop/axe')
      await page.getByText('Properties', { exact: true }).click()
      await publish(page, 'shop/axe', 'x')
      await messages(page).first().waitFor()
      await accessible(page)
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
      assert.equal(wide, 0, 'the page does not scroll sideways')
      await page.context().close()
    })
  }
}
