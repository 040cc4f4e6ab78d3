#!/bin/bash
#SBATCH --job-name=dcp
#SBATCH --nodes=1
#SBATCH --time=60
#CSX --checkpoint=checkpoints/step-{step}

torchrun --standalone --nproc-per-node=2 train.py --steps 100 \
    ${CSX_RESTART_CHECKPOINT:+--resume "$CSX_RESTART_CHECKPOINT"}
