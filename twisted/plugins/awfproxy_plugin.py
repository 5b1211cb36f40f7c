"""Makes `awfproxy` known to twistd and twist."""

from twisted.application.service import ServiceMaker

awfproxy = ServiceMaker(
    "awfproxy",
    "awfproxy.tap",
    "Give coding agents an API without the API's key: inject it, and forward through an egress proxy.",
    "awfproxy",
)
