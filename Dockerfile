# awfproxy as a container: for any user, without HOME, on a read-only root. docs/deploying.md says how to run it.
# The base has to be Debian 12 or newer. What is installed from PyPI is what the two lock files name (make lock).
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get -qq update \
    && DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install \
        ca-certificates gcc libc6-dev python3-dev python3-venv > /dev/null
WORKDIR /src
RUN python3 -m venv /build && python3 -m venv --without-pip /opt/awfproxy
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_QUIET=1 PIP_ROOT_USER_ACTION=ignore
COPY deploy/build.lock deploy/runtime.lock deploy/
RUN /build/bin/pip install --require-hashes --no-deps -r deploy/build.lock \
    && /build/bin/pip --python /opt/awfproxy/bin/python install --no-compile \
        --require-hashes --no-deps --only-binary :all: -r deploy/runtime.lock
COPY pyproject.toml setup.cfg setup.py README.md LICENSE ./
COPY awfproxy awfproxy
COPY twisted twisted
# mypyc compiles the data path here, and it is an error if it does not; the image has no compiler.
RUN /build/bin/pip wheel --no-build-isolation --no-deps -w /wheel . \
    && /build/bin/pip --python /opt/awfproxy/bin/python install --no-compile --no-deps /wheel/*.whl \
    && ls /opt/awfproxy/lib/python3*/site-packages/awfproxy/wire/parser.*.so > /dev/null
# Without what nobody runs there. Bytecode and Twisted's list of plugins are written now, since nothing can be later:
# docs/startup.md, "Under twistd". Hashes instead of times, so that copying changes nothing.
RUN cd /opt/awfproxy/lib/python3*/site-packages \
    && find . -type d -name test -prune -exec rm -r {} + \
    && find . \( -name '*.c' -o -name '*.h' -o -name '*.pyi' \) -delete \
    && python3 -m compileall -q --invalidation-mode unchecked-hash . \
    && /opt/awfproxy/bin/twistd --help > /dev/null \
    && chmod -R a+rX,go-w /opt/awfproxy

FROM ${BASE}
ARG AWF_VERSION=0.0.0-dev
RUN apt-get -qq update \
    && DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install \
        ca-certificates curl python3 > /dev/null \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* \
    && find /usr -xdev -perm /6000 -type f -exec chmod ug-s {} + \
    && install -d -m 0777 /var/log/api-proxy
COPY --from=build /opt/awfproxy /opt/awfproxy
COPY deploy/healthcheck /opt/awfproxy/bin/
ENV PATH=/opt/awfproxy/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 AWF_VERSION=${AWF_VERSION}
WORKDIR /
USER 65532:65532
VOLUME /var/log/api-proxy
EXPOSE 10000 10001 10002 10003 10004
HEALTHCHECK --interval=2s --timeout=3s --start-period=30s --retries=15 CMD ["healthcheck"]
# Exec form: twistd is PID 1, gets the signals, and starts no process of its own.
ENTRYPOINT ["twistd", "-n", "--pidfile=", "awfproxy"]
