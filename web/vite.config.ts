import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

const chat = process.env.HOB_DEV_WEB ?? 'http://127.0.0.1:8080';

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
