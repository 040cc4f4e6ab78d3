#!/bin/bash
#SBATCH --job-name=solver
#SBATCH --nodes=1
#SBATCH --time=60
#CSX --checkpoint=state-{step}.bin

./solver 100 ${CSX_RESTART_CHECKPOINT:+"$CSX_RESTART_CHECKPOINT" "$CSX_RESTART_STEP"}
