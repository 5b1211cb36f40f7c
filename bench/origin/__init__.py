"""The origin that nginx can't be: event streams of one TLS record per event, large bodies, WebSocket echoes.

One thread and one epoll: as few Python steps per unit as can be, so that it is not what limits a candidate.
Run by `python -m bench.origin`.
"""
