"""The native engine: continuous batching of token ids over one key/value cache.

Each step runs one forward pass over the next token of every running request and at most one chunk of
prompt tokens (iteration-level scheduling: Yu et al., Orca, OSDI 2022; chunked prefill: Agrawal et al.,
Sarathi, 2023). `request`, `room`, `scheduler` and `detokenize` load no torch.
"""
