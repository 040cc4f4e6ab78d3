"""What is known of trainers: their config, launch command, checkpoints and run directory."""
