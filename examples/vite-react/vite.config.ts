import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

// The paths of Latchkey, which `npm run dev` in the repository starts on port 3000. The browser sees one origin.
const paths = ['/auth/', '/api/', '/profile'];

export default defineConfig({
  plugins: [react()],
  server: {
    port: 5173,
    strictPort: true, // the provider returns the browser to this port
    proxy: Object.fromEntries(paths.map((path) => [path, 'http://localhost:3000'])),
  },
});
