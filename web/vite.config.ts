import { defineConfig } from 'vite';

// The page is embedded in the binary and served below /, or uploaded anywhere: addresses are relative.
export default defineConfig({
  base: './',
  build: {
    target: 'es2022',
    // A strict content security policy knows no data: addresses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
  server: { proxy: { '^/(search|export|counts|posts|users|stats|views|status|gaps|health|ready)': 'http://127.0.0.1:8080' } },
});
