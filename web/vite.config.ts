import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type Plugin } from 'vite';

/** KaTeX lists each font three times; every browser that runs the page reads WOFF2. */
const woff2Only: Plugin = {
  name: 'woff2-only',
  enforce: 'pre',
  transform: (code, id) => (id.includes('katex') && id.endsWith('.css') ? code.replace(/,url\([^)]*\.(?:woff|ttf)\) format\("\w+"\)/g, '') : null),
};

const chat = 'http://127.0.0.1:18080'; // a hob serve for development: HOB_WEB_HOST=127.0.0.1:18080

/** Svelte wraps components that are given CSS variables; the policy forbids the wrapper's style attribute. */
const noStyleAttributes: Plugin = {
  name: 'no-style-attributes',
  renderChunk: (code) => code.replaceAll('style="display: contents"', 'class="contents"'),
};

export default defineConfig({
  plugins: [woff2Only, svelte(), noStyleAttributes],
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
