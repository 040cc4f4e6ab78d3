#!/bin/bash
#SBATCH --job-name=orbax
#SBATCH --nodes=1
#SBATCH --time=60
#CSX --checkpoint=checkpoints/{step}

python train.py --steps 100 ${CSX_RESTART_CHECKPOINT:+--resume "$CSX_RESTART_CHECKPOINT"}
