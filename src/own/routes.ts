import type { CodeRoutes } from '../routes/code-routes.ts';

/**
 * Your routes under `/api`, in code. They behave like rows of the route table, before which they are tried; docs/api-routes.md
 * describes the fields.
 */
export const ownRoutes: CodeRoutes = () => [];

/* For example, a route that forwards, and one that responds itself:

export const ownRoutes: CodeRoutes = ({ requireToken, requireScope, forwardTo }) => [
  {
    path: '/orders/:id',
    methods: {
      GET: [requireToken, requireScope('orders:read'), forwardTo('/v1/orders/:id')],
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
