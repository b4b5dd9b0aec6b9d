"""From an exported model folder to an OpenAI-compatible endpoint on Ray Serve.

`engine/` turns token ids into token ids, `chat.py` and `protocol.py` speak OpenAI's language, `http.py`
puts them on HTTP, and `ingress.py` and `app.py` alone know Ray Serve.
"""
