"""Whom to trust on the way out: the TLS settings that are the same for every origin, as one context.

Reading the system's roots takes 23 ms and 1.1 MB each time, so a process with several providers reads them
once. The context knows no origin: the name that a certificate has to be for, and the session, are kept by
`ClientTls`.
"""

import ssl
from typing import Final

from awfproxy.errors.configuration import ConfigError

ALPN: Final = "http/1.1"


def client_context(
    roots_file: str | None = None, extra_ca_files: tuple[str, ...] = ()
) -> ssl.SSLContext:
    """It trusts the system's roots, or `roots_file` in their place; `extra_ca_files` are added.

    Raises `ConfigError` for a file without certificates and for an empty set of roots.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols([ALPN])
    if roots_file is None:
        context.load_default_certs()
    for name in (*([] if roots_file is None else [roots_file]), *extra_ca_files):
        try:
            context.load_verify_locations(cafile=name)
        except (OSError, ssl.SSLError) as problem:
            raise ConfigError(
                f"The CA file {name} cannot be used: it is unreadable or holds no PEM certificate. "
                "Name a readable file of PEM certificates (--ca-file, SSL_CERT_FILE, NODE_EXTRA_CA_CERTS)."
            ) from problem
    # A directory of roots (capath) is read on demand and counts as none here.
    paths = ssl.get_default_verify_paths()
    if not context.cert_store_stats()["x509_ca"] and (roots_file is not None or paths.capath is None):
        raise ConfigError(
            "No trusted root certificates were found, so no provider could be verified. "
            "Install the system's CA certificates (Debian: ca-certificates) or name a file with --ca-file."
        )
    return context
