"""Fine-tuning: token files and a base model in, a Hugging Face folder with `ochat.json` out.

    base        make or extend the base model
    tokens      token files -> arrays in memory maps
    packing     lengths -> which conversations share a bin and a step
    batch       one bin -> tensors
    model, attention, loss, isolation   the packed forward pass, and the proof that packs do not leak
    fsdp        the model over many workers
    schedule, checkpoint, log           learning rate, resuming, losses.jsonl
    together    errors of one worker, told to all
    loop        what every worker runs
    placement   what workers need of the cluster
    run         checks, Ray Train, export

Letters in tensor names: T tokens of a bin, H hidden width, V vocabulary, N conversations, S steps,
B batch (always 1), A attention heads, D width of a head.
"""
