# Builds and build arguments of this image are described in docs/delivery.md.
#
# Nothing here needs a newer Dockerfile frontend than the one inside Docker 20.10, so there is no
# `# syntax` line, and a build with a prebuilt binary on `scratch` needs no registry at all.

ARG RUST_VERSION=1.95
# The base of the image: any that can run a static binary, `scratch` included.
ARG BASE_IMAGE=alpine:3.22
# The stage of the binary: `built` or `prebuilt`. The other is skipped.
ARG BINARY=built


# The tools, on the builder's own platform: compiling under emulation takes an hour. Debian and
# not Alpine, so that the compiler's own target is never the one that is built for, and build
# scripts and macros are linked by the system's linker.
FROM --platform=$BUILDPLATFORM rust:${RUST_VERSION}-slim-trixie AS toolchain
# No version: Debian keeps only the newest of a release.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/*
COPY .ci/requirements.txt /opt/zig/
RUN python3 -m venv /opt/zig/venv \
 && /opt/zig/venv/bin/pip install --no-cache-dir --require-hashes --requirement /opt/zig/requirements.txt
# cargo-zigbuild runs `python3 -m ziglang`, so the environment comes first.
ENV PATH=/opt/zig/venv/bin:$PATH
ARG TARGETARCH
RUN case "$TARGETARCH" in \
      arm64) target=aarch64-unknown-linux-musl ;; \
      amd64) target=x86_64-unknown-linux-musl ;; \
      *) echo "no target for $TARGETARCH" >&2; exit 1 ;; \
    esac \
 && rustup target add "$target" \
 && echo "$target" > /opt/target
WORKDIR /build


# The dependencies, in a layer of their own that only Cargo's files can make stale: an empty
# crate with the same manifest.
FROM toolchain AS dependencies
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches/load \
 && touch src/lib.rs \
 && echo 'fn main() {}' > src/main.rs \
 && cp src/main.rs benches/load/main.rs \
 && cargo zigbuild --locked --release --target "$(cat /opt/target)"


FROM dependencies AS built
COPY build.rs ./
COPY .sqlx .sqlx
COPY migrations migrations
COPY grafana grafana
COPY prometheus prometheus
COPY templates templates
COPY benches benches
COPY src src
# The files may be older than the empty crate's; cargo goes by their times.
RUN touch src/lib.rs src/main.rs \
 && cargo zigbuild --locked --release --target "$(cat /opt/target)" \
 && cp "target/$(cat /opt/target)/release/mattermost-telemetry" /mattermost-telemetry


# A static binary that is already there, by its path in the build context.
FROM scratch AS prebuilt
ARG PREBUILT=dist/mattermost-telemetry
COPY ${PREBUILT} /mattermost-telemetry


FROM ${BINARY} AS binary


# An empty folder to copy from, made without running anything.
FROM scratch AS skeleton
WORKDIR /data


# COPY and metadata only: assembling this stage runs no program of the target's architecture.
FROM ${BASE_IMAGE}

COPY --from=binary --chmod=0755 /mattermost-telemetry /usr/bin/mattermost-telemetry
# A new volume takes over the folder's owner. A number, since `scratch` has no /etc/passwd.
COPY --from=skeleton --chown=65532:65532 /data /data

# SQLite's temporary files go to the volume: the rest of the file system may be read-only.
ENV SERVER_ADDRESS=0.0.0.0:8080 \
    DATABASE_URL=sqlite:///data/telemetry.db \
    SQLITE_TMPDIR=/data

USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM

# The start period covers the take-over of a reference server's database.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/usr/bin/mattermost-telemetry", "healthcheck"]

ENTRYPOINT ["/usr/bin/mattermost-telemetry"]

ARG BASE_IMAGE
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mattermost-telemetry" \
      org.opencontainers.image.description="Self-hosted telemetry server for deployed Mattermost containers" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="${BASE_IMAGE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
