import type { Request } from 'express';
import { createAppHeadersBuilder } from '../../src/front-end/app-headers.ts';

const request = { id: '1', ip: '192.0.2.1', headers: { host: 'claimed.example' } } as unknown as Request;

test.each([
  ['http://localhost:5173', 'http://localhost:3000', 'localhost:3000'], // some servers compare it with Origin
  ['http://[::1]:5173', 'http://127.0.0.1:3000', '127.0.0.1:3000'],
  ['http://localhost:5173', 'https://app.example.com', undefined],
  ['http://vite:5173', 'http://localhost:3000', undefined],
  ['https://app.internal', 'https://app.example.com', undefined],
])(
  'the app at %s, behind %s, gets the Host %s; without one, that of its own address',
  (app, origin, host) => {
    const headers = createAppHeadersBuilder(new URL(app), origin)(request, false);
    expect([headers.host, headers['x-forwarded-host']]).toEqual([host, new URL(origin).host]);
  },
);
