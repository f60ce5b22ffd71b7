# aoed in a container. AoE is a protocol of the Ethernet, so the container uses the host's network:
#
#   docker build -t aoed .
#   docker run --network host --cap-drop ALL --cap-add NET_RAW \
#       -v aoed:/var/lib/aoed -v ./aoed.toml:/etc/aoed/aoed.toml:ro aoed
#
# It runs as the user aoed; CAP_NET_RAW opens packet sockets. An interface that is part of a bridge,
# and port = "xdp", need more: --user root --cap-add NET_ADMIN (and for a bridge --device
# /dev/net/tun), and user = "aoed" in the configuration, with --cap-add SETUID --cap-add SETGID, to
# give that up after the start.
FROM debian:bookworm-slim AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev nodejs npm \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN npm ci --ignore-scripts --no-fund --no-audit --loglevel=error \
    && scripts/build-shim.sh \
    && scripts/build-deb.sh --fast --output /package

FROM debian:bookworm-slim
RUN --mount=type=bind,from=build,source=/package,target=/package \
    apt-get update \
    && apt-get install -y --no-install-recommends /package/aoed_*.deb libcap2-bin \
    && setcap cap_net_raw+ep /usr/lib/aoed/node_modules/node-linux-*/bin/node \
    && apt-get purge -y --auto-remove libcap2-bin \
    && rm -rf /var/lib/apt/lists/*
USER aoed
ENV STATE_DIRECTORY=/var/lib/aoed
VOLUME /var/lib/aoed
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/aoed"]
CMD ["serve", "--config", "/etc/aoed/aoed.toml"]
