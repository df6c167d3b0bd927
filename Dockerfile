# One image with both programs; docker-compose.yml says which runs where.
#
#   docker build --tag orderflow:local .

# RUST_VERSION: the compiler that the tests use; `rust-version` in Cargo.toml is the oldest supported one.
# DEBIAN: one release for both stages, because the programs need the C library that they were linked with, or a newer
# one; DEBIAN_VERSION is its point release.
ARG RUST_VERSION=1.95.0
ARG DEBIAN=trixie
ARG DEBIAN_VERSION=13.8

FROM rust:${RUST_VERSION}-slim-${DEBIAN} AS build
WORKDIR /src
# .dockerignore admits only what the build needs.
COPY . .
# The commit and its date in UTC, for `orderflow --version`: there is no .git here. docs/INSTALLING.md has the line that
# sets them.
ARG REVISION
ARG REVISION_DATE
ENV ORDERFLOW_REVISION=${REVISION} ORDERFLOW_REVISION_DATE=${REVISION_DATE}
# --locked: the versions of Cargo.lock, with which the tests ran, or no build. Without --workspace it builds only what
# ships, without fault injection, which the same step verifies. The caches belong to the builder and are not in the
# image, so the programs are copied out of them in the same step, without debug information, most of their size. A
# backtrace still names functions, and a panic its line.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --locked --release \
    && ! grep --quiet --text ORDERFLOW_WITHOUT target/release/orderflow target/release/orderflow-worker \
    && install -D -t /out target/release/orderflow target/release/orderflow-worker \
    && strip --strip-debug /out/*

FROM debian:${DEBIAN_VERSION}-slim
# generated: version
ARG VERSION=0.2.0
# end
ARG REVISION
LABEL org.opencontainers.image.title="Orderflow" \
      org.opencontainers.image.description="Event-driven orders on RabbitMQ and PostgreSQL: front end, workers, operator's commands" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The root certificates for TLS to providers: rustls reads the system's. The C library and libgcc_s are in the base
# image, and nothing else is linked. No version is pinned, because the distribution's current certificates are wanted.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    # The operator's commands may write here (`orderflow dlq discard` keeps what it discards); a volume created from it
    # belongs to the same user.
    && install -d -m 700 -o 10001 -g 10001 /var/lib/orderflow
COPY --from=build /out/ /usr/local/bin/
COPY --chmod=755 scripts/container/healthcheck.sh /usr/local/bin/healthcheck
# By number, so that Kubernetes can verify that it is not root; usual hosts have no user with this number.
USER 10001:10001
WORKDIR /var/lib/orderflow
# Inside a container the defaults, on 127.0.0.1, would be unreachable.
ENV LISTEN=0.0.0.0:8080 OPS_LISTEN=0.0.0.0:8082 WORKER_LISTEN=0.0.0.0:8081
EXPOSE 8080 8081 8082
CMD ["orderflow", "serve"]
