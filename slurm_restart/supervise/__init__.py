"""Code that runs in the job on the batch host: start the trainer, monitor it, record its end."""
