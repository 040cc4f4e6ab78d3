#!/bin/bash
#SBATCH --job-name=huggingface
#SBATCH --nodes=1
#SBATCH --time=60
#CSX --checkpoint=out/checkpoint-{step}

python train.py --steps 100 ${CSX_RESTART_CHECKPOINT:+--resume "$CSX_RESTART_CHECKPOINT"}
