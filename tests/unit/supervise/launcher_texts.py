"""What launchers print when ranks that hang are ended by SIGABRT, as recorded."""

# srun of Slurm 22.05 with six tasks on three nodes, all of which were sent SIGABRT.
SRUN = """\
srun: error: csx3: tasks 4-5: Aborted
srun: error: csx2: tasks 2-3: Aborted
srun: error: csx1: tasks 0-1: Aborted
"""
# The same with --kill-on-bad-exit.
SRUN_KILLS = """\
srun: error: csx2: tasks 2-3: Aborted
srun: launch/slurm: _step_signal: Terminating StepId=1.0
srun: error: csx3: tasks 4-5: Aborted
srun: error: csx1: tasks 0-1: Aborted
"""
# torchrun of PyTorch 2.4 with two workers.
TORCHRUN = """\
E1130 05:23:14.766000 140563947118656 torch/distributed/elastic/multiprocessing/api.py:833] \
failed (exitcode: -6) local_rank: 0 (pid: 25913) of binary: /opt/venv/bin/python3.11
Traceback (most recent call last):
  File "/opt/venv/bin/torchrun", line 8, in <module>
    sys.exit(main())
             ^^^^^^
  File "/opt/venv/lib/python3.11/site-packages/torch/distributed/run.py", line 892, in run
    elastic_launch(
  File "/opt/venv/lib/python3.11/site-packages/torch/distributed/launcher/api.py", line 264, in \
launch_agent
    raise ChildFailedError(
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
======================================================
p.py FAILED
------------------------------------------------------
Failures:
[1]:
  time      : 2026-11-30_05:23:14
  host      : localhost
  rank      : 1 (local_rank: 1)
  exitcode  : -6 (pid: 25921)
  error_file: <N/A>
  traceback : Signal 6 (SIGABRT) received by PID 25921
------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-30_05:23:14
  host      : localhost
  rank      : 0 (local_rank: 0)
  exitcode  : -6 (pid: 25913)
  error_file: <N/A>
  traceback : Signal 6 (SIGABRT) received by PID 25913
======================================================
"""
LAUNCHERS = {"srun": (SRUN, 134), "srun -K": (SRUN_KILLS, 134), "torchrun": (TORCHRUN, 1)}
"""What each prints, and its exit code."""
