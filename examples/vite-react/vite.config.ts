import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

// For Vite in front of Latchkey: the paths of Latchkey, and no others. Unused if Latchkey is in front.
const latchkey = { target: 'http://localhost:3000', ws: true };

export default defineConfig({
  plugins: [react()],
  build: { assetsDir: 'immutable' }, // Latchkey lets browsers keep the files of a folder with this name
  server: {
    port: 5173,
    strictPort: true, // Latchkey and the provider know this port
    proxy: { '/auth/': latchkey, '/api/': latchkey, '^/profile(\\?|$)': latchkey },
  },
});
