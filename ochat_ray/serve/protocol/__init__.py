"""OpenAI's API: what requests may say, and the shapes of answers and errors. No model, no HTTP."""
