"""What stands before the endpoint: keys, limits, CORS, sizes, request ids and the log of requests.

`guard.py` puts it around an ASGI application, outermost first: `watch.py` gives each request an id and
writes it down, starlette's CORS, `gate.py` asks for a key and counts, `body.py` takes in the body.
"""
