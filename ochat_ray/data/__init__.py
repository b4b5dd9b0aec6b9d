"""From saved pages to token files: `ochat_ray.data.pipeline.prepare` is the whole of it.

The steps, in the order a page takes them: sources, page, markdown and noise, clean, filters, dedup,
tokenize. All are plain functions; `pipeline` alone knows Ray.
"""
