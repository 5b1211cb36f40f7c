# Squid as Debian has it, as its own user from the start; compose.yaml gives it its configuration.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN apt-get -qq update \
    && DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install squid > /dev/null \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/*
USER proxy
EXPOSE 3128
ENTRYPOINT ["squid", "-N", "-f", "/etc/awfproxy-squid/squid.conf"]
