import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

const chat = 'http://127.0.0.1:18080'; // a hob serve for development: HOB_WEB_HOST=127.0.0.1:18080

export default defineConfig({
  plugins: [svelte()],
  build: {
    target: 'es2022',
    assetsInlineLimit: 0, // the policy allows fonts and scripts from this server's files only
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 700,
    reportCompressedSize: false,
  },
  server: {
    proxy: {
      '/api': { target: chat },
      '/comfy': { target: chat, ws: true },
    },
  },
});
