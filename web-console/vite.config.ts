import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vite'

export default defineConfig({
  plugins: [svelte()],
  build: {
    target: 'es2023',
    // The policy forbids inline styles and data: URLs; every file is served as itself.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // MQTT.js, loaded when someone tries it.
    chunkSizeWarningLimit: 400,
  },
  server: {
    // `npm run dev` beside a gateway.
    proxy: {
      '/api': 'http://127.0.0.1:15672',
      '/mqtt': { target: 'ws://127.0.0.1:15672', ws: true },
    },
  },
})
