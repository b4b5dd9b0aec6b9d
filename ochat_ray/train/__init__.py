"""Fine-tuning: token files and a base model in, a Hugging Face folder with `ochat.json` out.

    base        make or extend the base model
    tokens, prepared
                token files -> arrays in memory maps; the folder of them that fits a base model
    packing     lengths -> which conversations share a bin and a step
    batch, feed one bin -> tensors; all that a worker is fed
    model, weights, attention, loss, isolation, lora
                the packed forward pass, and the proof that packs do not leak
    strategies/ the model and AdamW over many workers: FSDP2, DeepSpeed's ZeRO
    schedule, guard, evaluate, meter, log
                learning rate, what is wrong with a step, held-out losses, speed, losses.jsonl
    snapshot, checkpoint
                one checkpoint as files; writing them meanwhile, resuming from the last whole one
    together    errors of one worker, told to all
    loop        what every worker runs
    export, card
                the Hugging Face folder and its model card
    flops, gpus how large models are, and what GPUs compute
    placement   what workers need of the cluster
    run         checks, Ray Train, export

Letters in tensor names: T tokens of a bin, H hidden width, V vocabulary, N conversations, S steps,
B batch (always 1), A attention heads, D width of a head.
"""
