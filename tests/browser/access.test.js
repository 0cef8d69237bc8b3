// Who may see the console and use it.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import { after, before, test } from 'node:test'
import { launch, messages, open, openConsole, publish, subscribe } from './browser.js'
import { account, startGateway } from './gateway.js'

let withAccount
let withoutAccount
let browser
before(async () => {
  withAccount = await startGateway(account('anna', 'secret of anna'))
  withoutAccount = await startGateway()
  browser = await launch()
})
after(async () => {
  await browser?.close()
  await withAccount?.stop()
  await withoutAccount?.stop()
})

/** The status and headers of an answer. Unlike fetch it sends any Host. */
const get = (url, headers) =>
  new Promise((resolve, reject) => {
    request(url, { headers }, (answer) => {
      answer.resume()
      answer.once('end', () => resolve(answer))
    })
      .once('upgrade', (answer, socket) => {
        socket.destroy()
        resolve(answer)
      })
      .once('error', reject)
      .end()
  })

test('where there are accounts the page asks for one', async () => {
  const basic = (user) => ({ Authorization: `Basic ${Buffer.from(user).toString('base64')}` })
  for (const path of ['/', '/api/overview', '/api/live', '/metrics']) {
    for (const headers of [{}, basic('anna:wrong'), basic('berta:secret of anna')]) {
      const { statusCode, headers: answered } = await get(withAccount.http + path, headers)
      assert.equal(statusCode, 401, path)
      // This is what makes a browser ask.
      assert.match(answered['www-authenticate'], /^Basic realm="Evergate"/)
    }
  }
  assert.equal((await get(`${withAccount.http}/health/ready`, {})).statusCode, 200)
  for (const httpCredentials of [undefined, { username: 'anna', password: 'wrong' }]) {
    const page = await open(browser, { httpCredentials })
    // Chromium has nobody to ask and calls that an error of the network, or shows the 401.
    await page.goto(withAccount.http).catch((error) => assert.match(error.message, /ERR_INVALID_AUTH_CREDENTIALS/))
    assert.equal(await page.getByRole('heading', { name: 'Evergate' }).count(), 0)
    await page.context().close()
  }
})

test('where there are accounts the panel asks for one, and says when it is wrong', async () => {
  const page = await openConsole(browser, withAccount, { httpCredentials: { username: 'anna', password: 'secret of anna' } })
  const state = page.getByTestId('mqtt-state')
  assert.equal(await page.getByLabel('Password').count(), 0)
  await page.getByRole('button', { name: 'Connect', exact: true }).click()
  await page.getByRole('alert').getByText(/account|not allowed/).waitFor()
  await page.getByLabel('User', { exact: true }).fill('anna')
  await page.getByLabel('Password').fill('wrong')
  await page.getByRole('button', { name: 'Connect', exact: true }).click()
  await page.getByRole('alert').getByText('The user name or the password is wrong.').waitFor()
  await state.getByText('Not connected').waitFor()
  await page.getByLabel('Password').fill('secret of anna')
  await page.getByRole('button', { name: 'Connect', exact: true }).click()
  await state.getByText('Connected', { exact: true }).waitFor()
  await subscribe(page, 'of/anna')
  await publish(page, 'of/anna', 'hers')
  await messages(page).getByText('hers').waitFor()
  assert.deepEqual(page.errors, [])
  await page.context().close()
})

test('a request with the Host or the Origin of another site is refused', async () => {
  const { port } = new URL(withoutAccount.http)
  const upgrade = {
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Protocol': 'mqtt',
  }
  for (const [path, more] of [['/', {}], ['/api/overview', {}], ['/metrics', {}], ['/mqtt', upgrade]]) {
    for (const foreign of [
      { Host: `elsewhere.example:${port}` },
      { Host: 'elsewhere.example' },
      { Origin: 'https://elsewhere.example' },
      { Origin: `http://elsewhere.example:${port}` },
      { Origin: 'null' },
    ]) {
      const { statusCode } = await get(withoutAccount.http + path, { ...more, ...foreign })
      assert.equal(statusCode, 403, `${path} ${JSON.stringify(foreign)}`)
    }
  }
  for (const own of [{}, { Origin: withoutAccount.http }, { Host: `localhost:${port}`, Origin: `http://localhost:${port}` }]) {
    assert.equal((await get(`${withoutAccount.http}/api/overview`, own)).statusCode, 200, JSON.stringify(own))
  }
})

test('a page of another site gets nothing', async () => {
  const site = createServer((_, answer) => answer.end('a page')).listen(0, '127.0.0.1')
  await once(site, 'listening')
  const page = await open(browser)
  await page.goto(`http://127.0.0.1:${site.address().port}/`)
  const overview = await page.evaluate(
    (url) => fetch(url, { mode: 'no-cors' }).then(() => 'an answer', () => 'nothing'),
    `${withoutAccount.http}/api/overview`,
  )
  assert.equal(overview, 'nothing')
  const socket = await page.evaluate(
    (url) =>
      new Promise((resolve) => {
        const socket = new WebSocket(url, 'mqtt')
        socket.onopen = () => resolve('open')
        socket.onerror = () => resolve('refused')
      }),
    `${withoutAccount.http.replace('http', 'ws')}/mqtt`,
  )
  assert.equal(socket, 'refused')
  await page.context().close()
  site.close()
})
