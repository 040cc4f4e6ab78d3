"""In the job, on the batch host: start the trainer, watch it, say what happened."""
