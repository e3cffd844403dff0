# One image for the api, the worker and the migrations; the command says which (docker-compose.yml).
FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY . .
RUN npm run build

FROM node:24-bookworm-slim AS packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# bullmq: adds the package of that queue, in the version of the lock file.
ARG IMPORT_QUEUE=temporal
RUN if [ "$IMPORT_QUEUE" = bullmq ]; then \
      npm pkg set "dependencies.bullmq=$(node -p "require('./package.json').devDependencies.bullmq")" \
      && npm pkg delete devDependencies.bullmq; \
    fi
# Temporal's native part comes for five platforms, 30 MB each; one of them runs here.
RUN npm ci --omit=dev \
 && cd node_modules/@temporalio/core-bridge/releases \
 && case "$(uname -m)" in x86_64) keep=x86_64-unknown-linux-gnu ;; *) keep=aarch64-unknown-linux-gnu ;; esac \
 && find . -mindepth 1 -maxdepth 1 ! -name "$keep" -exec rm -r {} +

FROM node:24-bookworm-slim
# Two arenas of malloc in place of eight for each processor hold 15 MB less of what was freed.
ENV MALLOC_ARENA_MAX=2
ENV NODE_ENV=production PLAYLOG_HOME=/data PLAYLOG_WORKFLOW_BUNDLE=/app/dist/workflow-bundle.js
WORKDIR /app
# A volume made from this folder takes over its owner.
RUN mkdir /data && chown node:node /data
COPY --from=packages /app/node_modules ./node_modules
COPY package.json ./
COPY --from=build /app/dist ./dist
USER node
EXPOSE 3000
CMD ["node", "dist/api/server.js"]
