# The image of lightship: master and agent in one. Two ways to make it:
#
#   make image                            packages the binary that `make build` left (no network needed)
#   DOCKER_BUILDKIT=1 docker build -t lightship:local .
#                                         builds everything from source; the builder without BuildKit, Debian's
#                                         default, would run the first stage too, which a plain clone cannot
#
# The first stage only packages: its context is the folder that scripts/image lays out.
FROM scratch AS prebuilt
ARG DOCKFLARE_UID=65532
ARG DOCKFLARE_GID=65532
COPY rootfs/ /
COPY --chown=${DOCKFLARE_UID}:${DOCKFLARE_GID} data/ /app/data/
WORKDIR /app
ENV LIGHTSHIP_STATE_DIR=/app/data SERVER_HOST=0.0.0.0 SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER ${DOCKFLARE_UID}:${DOCKFLARE_GID}
EXPOSE 8080
VOLUME /app/data
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["/usr/bin/lightship", "health"]
ENTRYPOINT ["/usr/bin/lightship"]
CMD ["agent"]

FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates tzdata
WORKDIR /src
# With `.cargo/config.toml`, which holds the settings of the allocator.
COPY . .
RUN cargo rustc --profile dist --locked --bin lightship -- -C target-feature=+crt-static \
 && scripts/image --layout-only target/dist/lightship

FROM scratch
ARG DOCKFLARE_UID=65532
ARG DOCKFLARE_GID=65532
COPY --from=build /src/target/image/rootfs/ /
COPY --from=build --chown=${DOCKFLARE_UID}:${DOCKFLARE_GID} /src/target/image/data/ /app/data/
WORKDIR /app
ENV LIGHTSHIP_STATE_DIR=/app/data SERVER_HOST=0.0.0.0 SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER ${DOCKFLARE_UID}:${DOCKFLARE_GID}
EXPOSE 8080
VOLUME /app/data
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["/usr/bin/lightship", "health"]
ENTRYPOINT ["/usr/bin/lightship"]
CMD ["agent"]
