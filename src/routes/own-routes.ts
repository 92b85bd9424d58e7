import type { CodeRoutes } from './code-routes.ts';

/**
 * The routes under `/api` that are written in code: yours. A route here behaves like a row of the route table, before which it
 * is tried. docs/api-routes.md describes the fields.
 */
export const ownRoutes: CodeRoutes = () => [];

/* For example, a route that forwards, and one that responds itself:

export const ownRoutes: CodeRoutes = ({ requireToken, requireScope, forwardTo }) => [
  {
    path: '/orders/:id',
    methods: {
      GET: [requireToken, requireScope('orders:read'), forwardTo({ target: '/v1/orders/:id' })],
    },
  },
  {
    path: '/greeting',
    rateLimit: { limit: 60, windowSeconds: 60 },
    methods: {
      GET: [requireToken, (req, res) => void res.json({ greeting: `Hello, ${req.login?.user.name}` })],
    },
  },
];
*/
