# Two images: production (the default) and, for docker compose only, demo: docker build --target demo .
FROM node:24-bookworm-slim AS base
WORKDIR /app

FROM base AS dependencies
COPY package.json package-lock.json ./
RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund

FROM base AS production-dependencies
COPY package.json package-lock.json ./
RUN --mount=type=cache,target=/root/.npm npm ci --omit=dev --omit=optional --no-audit --no-fund

FROM dependencies AS build
COPY . .
# The modes are set because COPY keeps those of the checkout, which under a strict umask only its owner can read.
RUN npm run build \
  && mv dist/demo /demo \
  && chmod -R u=rwX,go=rX /demo dist views public package.json \
  && chmod +x dist/cli.js

# The demo provider is an optional dependency. This image holds all dependencies. It is for trying things out.
FROM dependencies AS demo
ENV NODE_ENV=production
COPY --from=build /app/package.json ./
COPY --from=build /demo dist/demo
USER node
EXPOSE 3001 3002
# docker-compose.yml has a stricter one, which knows the app beside it.
HEALTHCHECK --interval=5s --timeout=3s --start-period=15s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + (process.env.DEMO_PROVIDER_PORT || 3001) + '/.well-known/openid-configuration').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "dist/demo/start-services.js"]

# Everything below belongs to root and runs as node, which can therefore change none of it.
FROM base AS production
ENV NODE_ENV=production HOST=0.0.0.0
COPY --from=build /app/package.json ./
COPY --from=production-dependencies /app/node_modules node_modules
COPY --from=build /app/views views
COPY --from=build /app/public public
COPY --from=build /app/dist dist
RUN ln -s /app/dist/cli.js /usr/local/bin/latchkey
USER node
EXPOSE 3000
# Asks this process only: an outage of Redis or of the provider must not restart it.
HEALTHCHECK --interval=5s --timeout=3s --start-period=15s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + (process.env.PORT || 3000) + '/healthz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
# No shell in between: node is process 1 and gets SIGTERM itself. Without the option, Node lets the heap grow as large as a
# small container; half of it leaves room for buffers, which are outside the heap.
CMD ["node", "--max-old-space-size-percentage=50", "dist/main.js"]
