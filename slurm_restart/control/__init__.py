"""On the controller: the hook at a job's end, its journal, and the reconciler."""
