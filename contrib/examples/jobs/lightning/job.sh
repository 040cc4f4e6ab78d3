#!/bin/bash
#SBATCH --job-name=lightning
#SBATCH --nodes=1
#SBATCH --time=60
#CSX --checkpoint=lightning_logs/version_*/checkpoints/epoch={epoch}-step={step}.ckpt

python train.py --epochs 10 ${CSX_RESTART_CHECKPOINT:+--resume "$CSX_RESTART_CHECKPOINT"}
