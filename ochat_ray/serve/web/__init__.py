"""What people see in a browser: the chat page, and the widget for other people's pages.

The chat page speaks to the endpoint as any client does, over HTTP: `endpoint.py` asks, `page.py` lays out,
`page.js` keeps conversations in the browser, `shell.py` decides what a browser may do with the page, and
`deployment.py` alone knows Ray Serve. The widget is `widget.js`, which `widget.py` serves, and `handoff.py`
passes a conversation on to a person.
"""
